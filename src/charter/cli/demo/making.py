"""A step of the demo: what an agent is made of changes, is held, and is reviewed by who may."""

from __future__ import annotations

from charter.cli.demo.teller import Teller

_NAME, _WAS, _IS = "repo-helper", "claude-sonnet-4-5", "claude-opus-4-5"


def change_what_it_is_made_of(teller: Teller) -> None:
    """Apply another model than was accepted; let its owner try to review that, and then somebody else."""
    teller.step("What an agent is made of is pinned: another model holds it until someone reviews exactly that")
    charter = teller.stage.estate / "principals" / f"{_NAME}.yaml"
    charter.write_text(charter.read_text(encoding="utf-8").replace(_WAS, _IS), encoding="utf-8")
    teller.charter("apply", "--yes", "--reason", "a larger model")
    shown = teller.ask("composition", "show", _NAME)
    told = [(each["part"], each["was"], each["now"]) for each in shown["changes"]]
    is_told = told == [("model", [f"anthropic/{_WAS}"], [f"anthropic/{_IS}"])]
    teller.claim(shown["standing"] == "restrained" and is_told, "restrained, with what it was and what it is")
    review = ("composition", "accept", _NAME, shown["change"], "--reason", "measured on our cases")
    said = teller.charter(*review, "--as", "rita@example.com", expect=3)
    teller.claim(not said, "its own owner cannot review it")
    done = teller.ask(*review, "--as", "sam@example.com")
    teller.claim(done["standing"] == "active", f"sam can; its tokens say {done['digest'][:19]}… from now on")
