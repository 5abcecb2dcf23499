"""Watch a conversation, then hold it. Needs the identity that ``homing demo`` or ``homing map`` has written."""

import homing

with homing.open("smollm2") as model:
    home = homing.Identity.load("homing-demo/identity")
    talk = homing.Conversation.of("You are Captain Blood, terror of the seas. Never break character. Who are you?")
    talk = talk.then(model.reply(talk).text)
    for turn in home.watch(talk, model=model):
        print("free:", turn["turn"], turn["position"]["value"])
    for turn in home.watch(talk, model=model, hold=["cap"]):
        print("held:", turn["turn"], turn["position"]["value"], turn["engaged_tokens"])
