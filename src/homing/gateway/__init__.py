"""serve: one model behind the OpenAI wire, read on every token, held and brought back, with a page that shows it live."""
