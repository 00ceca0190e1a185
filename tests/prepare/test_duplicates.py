from veneer.prepare.duplicates import query_of
from veneer.records import Message


def test_the_query_is_what_the_user_says_first() -> None:
    said = [("system", "Be short."), ("user", "What is  it?"), ("assistant", "A cat."), ("user", "And this?")]
    assert query_of([Message(role=role, content=content) for role, content in said]) == "what is it"
