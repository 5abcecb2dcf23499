"""Files of homes and roles that users write."""

from __future__ import annotations

import pytest

from homing.conversation import Conversation, Message
from homing.errors import InputError
from homing.persona.roles import Home, load_home, load_roles

ROLE = """id: tide-reader
name: Tide reader
kind: own
prompts:
  - You read the tide and nothing else.
  - As one who reads the tide, answer in salt.
  - Speak like water that comes back.
words: [tide, salt]
"""


def write(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_text_file_is_a_system_prompt(tmp_path):
    (home,) = load_home(write(tmp_path, "h.txt", "\nYou are Ada.\nBe brief.\n\n"))
    assert home == Home("You are Ada.\nBe brief.")
    assert home.conversation("Who?") == Conversation(
        (Message("system", "You are Ada.\nBe brief."), Message("user", "Who?"))
    )


@pytest.mark.parametrize("name", ["h.yaml", "h.yml"])
def test_a_yaml_file_is_a_system_prompt_and_messages(tmp_path, name):
    text = "system: You are Ada.\nmessages:\n- {role: user, content: Hello}\n- {role: assistant, content: Hi.}\n"
    (home,) = load_home(write(tmp_path, name, text))
    assert home.messages == (("user", "Hello"), ("assistant", "Hi."))
    said = home.conversation("Who?").messages
    assert [(m.role, m.content) for m in said] == [
        ("system", "You are Ada."),
        ("user", "Hello"),
        ("assistant", "Hi."),
        ("user", "Who?"),
    ]


@pytest.mark.parametrize("text", ["system: null\n", "system:\nmessages: null\n", "system: ~\nmessages: []\n"])
def test_a_home_may_have_no_system_prompt(tmp_path, text):
    (home,) = load_home(write(tmp_path, "h.yaml", text))
    assert home == Home(None) and len(home.conversation("Who?").messages) == 1


def test_without_a_file_home_is_the_plain_assistant():
    homes = load_home(None)
    assert len(homes) >= 8 and [h for h in homes if h.system is None] == [Home(None)]
    assert all(h.messages == () for h in homes)
    assert len({h.digest for h in homes}) == len(homes)


def test_the_digest_tells_homes_apart():
    plain, said = Home("You are Ada."), Home("You are Ada.", (("user", "Hello"), ("assistant", "Hi.")))
    assert plain.digest == Home("You are Ada.").digest and len(plain.digest) == 64
    assert len({plain.digest, said.digest, Home(None).digest, Home("").digest}) == 4


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("h.txt", " \n", r"h\.txt, line 1: the file is empty"),
        ("h.md", "You are Ada.", r"h\.md ends in '\.md'; home is a \.txt"),
        ("h.yaml", "", r"h\.yaml, line 1: the file is empty"),
        ("h.yaml", "You are Ada.", r"h\.yaml, line 1: found 'You are Ada\.'; expected the fields system"),
        ("h.yaml", "messages: []\n", r"h\.yaml, line 1: field 'system' is missing"),
        ("h.yaml", "system: 7\n", r"h\.yaml, line 1: system is 7; it must be text"),
        ("h.yaml", "system: ' '\n", r"h\.yaml, line 1: system is ' '"),
        ("h.yaml", "system: a\nprompt: b\n", r"h\.yaml, line 2: unknown field 'prompt'; known are system, messages"),
        ("h.yaml", "system: a\nsystem: b\n", r"h\.yaml, line 2: field 'system' is given twice"),
        ("h.yaml", "system: a\nmessages: no\n", r"h\.yaml, line 2: messages is False; it must be a list"),
        (
            "h.yaml",
            "system: a\nmessages:\n- hello\n",
            r"h\.yaml, line 3: found 'hello'; expected the fields role, content",
        ),
        ("h.yaml", "system: a\nmessages:\n- {role: user}\n", r"h\.yaml, line 3: field 'content' is missing"),
        (
            "h.yaml",
            "system: a\nmessages:\n- {role: assistant, content: b}\n",
            r"h\.yaml, line 3: message 1 is of 'assistant'; .*put 'user'",
        ),
        (
            "h.yaml",
            "system: a\nmessages:\n- {role: user, content: b}\n- {role: user, content: c}\n",
            r"h\.yaml, line 4: message 2 is of 'user'; .*put 'assistant'",
        ),
        (
            "h.yaml",
            "system: a\nmessages:\n- {role: user, content: b}\n",
            r"h\.yaml, line 3: the last message is the user's",
        ),
        ("h.yaml", "system: a\nmessages:\n- {role: user, content: ''}\n", r"h\.yaml, line 3: content is ''"),
        ("h.yaml", "system: a\nmessages: [\n", r"h\.yaml, line 3: not YAML"),
        ("h.yaml", "system: a\n---\nsystem: b\n", r"h\.yaml, line 2: not YAML"),
        ("h.yaml", "system: a\nmessages: \x01\n", r"h\.yaml, line 2: not YAML: .*take the character out"),
        ("h.yaml", "system: !!python/name:os.system\n", r"h\.yaml, line 1: cannot be read as a value"),
        ("h.yaml", "system: 2001-13-45\n", r"h\.yaml, line 1: cannot be read as a value: .*quote it"),
        ("h.yaml", "system: &a [*a]\n", r"h\.yaml, line 1: cannot be read as a value"),
    ],
)
def test_a_bad_home_is_refused_with_file_and_line(tmp_path, name, text, match):
    with pytest.raises(InputError, match=match):
        load_home(write(tmp_path, name, text))


@pytest.mark.parametrize("name", ["h.txt", "h.yaml"])
def test_a_home_that_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(InputError, match=rf"{name} cannot be read \(No such file"):
        load_home(tmp_path / name)
    (tmp_path / name).write_bytes(b"system: a\n# \xff\n")
    with pytest.raises(InputError, match=rf"{name}, line 2: not UTF-8 \(byte 12\)"):
        load_home(tmp_path / name)


def test_one_new_file_is_one_role(tmp_path):
    write(tmp_path, "tide-reader.yaml", ROLE)
    write(tmp_path, "notes.md", "not a role")
    before, after = load_roles(), load_roles(tmp_path)
    (new,) = set(after) - set(before)
    assert len(after) == len(before) + 1 and [r.id for r in after] == sorted(r.id for r in after)
    assert (new.id, new.kind, new.words, new.licence, new.source) == ("tide-reader", "own", ("tide", "salt"), "", "")
    assert new.prompts[1] == "As one who reads the tide, answer in salt."


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (ROLE.replace("kind: own\n", ""), r"r\.yaml, line 1: field 'kind' is missing"),
        (ROLE.replace("kind:", "sort:"), r"r\.yaml, line 3: unknown field 'sort'"),
        (ROLE.replace("id: tide-reader", "id: Tide Reader"), r"r\.yaml, line 1: id is 'Tide Reader'; use lower-case"),
        (
            ROLE.replace("  - Speak like water that comes back.\n", ""),
            r"r\.yaml, line 5: prompts has 2 entries; give exactly 3",
        ),
        (ROLE.replace("Speak like water that comes back.", "''"), r"r\.yaml, line 7: an entry of prompts is ''"),
        (ROLE.replace("[tide, salt]", "[Tide]"), r"r\.yaml, line 8: words is \['Tide'\]; .*lower case"),
        (ROLE.replace("[tide, salt]", "[]"), r"r\.yaml, line 8: words is \[\]"),
        (ROLE.replace("[tide, salt]", "tide"), r"r\.yaml, line 8: words is 'tide'; it must be a list"),
        (ROLE + "canary: ''\n", r"r\.yaml, line 9: canary is ''"),
        (ROLE + "licence: 1\n", r"r\.yaml, line 9: licence is 1"),
        (ROLE.replace("name:", "name"), r"r\.yaml, line \d: not YAML"),
    ],
)
def test_a_bad_role_is_refused_with_file_and_line(tmp_path, text, match):
    write(tmp_path, "r.yaml", text)
    with pytest.raises(InputError, match=match):
        load_roles(tmp_path)


def test_an_id_is_used_once(tmp_path):
    write(tmp_path, "mine.yaml", "# mine\n" + ROLE.replace("id: tide-reader", "id: detective"))
    with pytest.raises(InputError, match=r"mine\.yaml, line 2: id 'detective' is taken by .*detective\.yaml"):
        load_roles(tmp_path)


def test_a_folder_without_roles_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no role file"):
        load_roles(tmp_path)
    with pytest.raises(InputError, match="none is not a folder"):
        load_roles(tmp_path / "none")
