"""Conversations and texts are read from the files that people have; what is left out is said."""

import json

import pytest

from kerastrain.data import Columns
from kerastrain.errors import InputError
from kerastrain.language import conversations, corpus


def chat(*turns, **others):
    return {"messages": [{"role": role, "content": content} for role, content in turns], **others}


def said(item):
    return [(message["role"], message["content"]) for message in item.messages]


def written(path, *records, encoding="utf-8", end="\n"):
    lines = [record if isinstance(record, str) else json.dumps(record, ensure_ascii=False) for record in records]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode(encoding))
    return path


def read(path, *records, kind="chat", columns=None, **options):
    path = written(path, *records, **options) if records else path
    return conversations.read(path, kind=kind, columns=columns)


def faults(corpus):
    return {item.path.split(" of ")[0]: item.reason for item in corpus.skipped}


def refusal(*arguments, **options):
    with pytest.raises((InputError, FileNotFoundError)) as raised:
        read(*arguments, **options)
    return str(raised.value)


EXPECTED = [("user", "What is 2 + 2?"), ("assistant", "4 👍")]


@pytest.mark.parametrize(
    ("record", "layout"),
    [
        (chat(*EXPECTED), "'messages'"),
        ({"messages": json.dumps(chat(*EXPECTED)["messages"])}, "'messages'"),
        ({"messages": str(chat(*EXPECTED)["messages"])}, "'messages'"),
        (
            {"conversations": [{"from": "human", "value": "What is 2 + 2?"}, {"from": "gpt", "value": "4 👍"}]},
            "'conversations'",
        ),
        ({"Prompt": "What is 2 + 2?", "Response": "4 👍"}, "'Prompt' and 'Response'"),
        ({"prompt": "What is 2 + 2?", "completion": "4 👍"}, "'prompt' and 'completion'"),
        ({"question": "What is 2 + 2?", "answer": "4 👍"}, "'question' and 'answer'"),
        ({"instruction": "What is 2 + 2?", "input": "", "output": "4 👍"}, "'instruction' and 'output'"),
        (
            {
                "prompt": [{"role": "user", "content": "What is 2 + 2?"}],
                "completion": [{"role": "assistant", "content": "4 👍"}],
            },
            "'prompt' and 'completion'",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "What is 2 + 2?"}]},
                    chat(EXPECTED[1])["messages"][0],
                ]
            },
            "'messages'",
        ),
    ],
)
def test_forms_of_conversations(tmp_path, record, layout):
    found = read(tmp_path / "qa.jsonl", record, {**record, "id": 1})
    assert said(found.items[0]) == EXPECTED
    assert found.layout == f"one JSON object per line, with {layout}"
    assert [item.reason for item in found.skipped] == [f"it equals line 1 of '{tmp_path / 'qa.jsonl'}'"]
    assert found.notes == (f"'{tmp_path / 'qa.jsonl'}': did not read the columns 'id'",)


def test_what_stands_beside_a_prompt(tmp_path):
    alpaca = {"instruction": "Translate.", "input": "chat", "output": "cat", "system": "Be brief."}
    assert said(read(tmp_path / "a.jsonl", alpaca, {"instruction": "b", "output": "c"}).items[0]) == [
        ("system", "Be brief."),
        ("user", "Translate.\n\nchat"),
        ("assistant", "cat"),
    ]
    tools = [{"type": "function", "function": {"name": "w"}}]
    call = [{"type": "function", "function": {"name": "w", "arguments": {}}}]
    turns = [
        {"role": "user", "content": "Rain?"},
        {"role": "assistant", "content": None, "tool_calls": call},
        {"role": "function", "name": "w", "content": "no"},
        {"role": "assistant", "content": "No."},
    ]
    item = read(
        tmp_path / "t.jsonl", {"tools": tools, "messages": turns}, {"tools": None, "messages": turns[:2]}
    ).items[0]
    assert item.tools == tuple(tools)
    assert item.messages[1] == {"role": "assistant", "content": "", "tool_calls": call}
    assert item.messages[2] == {"role": "tool", "content": "no", "name": "w"}


def test_rows_that_are_no_conversations_are_skipped_with_their_line(tmp_path):
    good = [chat(("user", f"q{number}"), ("assistant", "a")) for number in range(3)]
    found = read(
        tmp_path / "odd.jsonl",
        *good,
        '{"messages": [{"role": "us',
        chat(("user", "x"), ("assistant", " ")),
        chat(("user", "x")),
        chat(("wizard", "x"), ("assistant", "y")),
        {"messages": []},
        {"messages": "none"},
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}, {"role": "assistant", "content": "a"}]},
        {"messages": [{"content": "a"}]},
        {"messages": ["a"]},
        chat(("user", " "), ("assistant", "a")),
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}]},
        {"other": 1},
    )
    assert len(found) == 3
    assert faults(found) == {
        "line 4": "it is not valid JSON (unterminated string starting at)",
        "line 5": "its answer is empty",
        "line 6": "it has no message of the assistant",
        "line 7": "message 1 has the unknown role 'wizard': user, assistant, system and tool are known",
        "line 8": "it has no messages",
        "line 9": "a list of messages is expected, and it has 'none'",
        "line 10": "message 1 has a part of the type 'image_url', and only texts are read",
        "line 11": "message 1 has no role",
        "line 12": "message 1 must be an object with a role and a content, and is 'a'",
        "line 13": "nothing is said before its answer",
        "line 14": "none of its answers is to be learned: each has the weight 0",
        "line 15": "it has no 'messages'",
    }


def test_mixed_forms_are_counted(tmp_path):
    rows = [chat(("user", "a"), ("assistant", "b"), ("user", "c")), {"prompt": "p", "response": "r"}, chat(*EXPECTED)]
    rows[2]["messages"] += [{"role": "user", "content": "d"}, {"role": "assistant", "content": "e", "weight": 0}]
    found = read(tmp_path / "mixed.jsonl", *rows)
    assert found.layout == "one JSON object per line, 2 rows with 'messages' and 1 row with 'prompt' and 'response'"
    assert found.items[2].given == {3}
    assert found.notes == (
        "1 conversation without an answer at the end: what follows the last one is not read",
        "1 answer inside prompts or with the weight 0: they are read, and not learned",
    )


def test_tables_of_other_columns_and_encodings(tmp_path):
    rows = ["Frage;Antwort;Thema", *(f"f{number};{number};t" for number in range(4))]
    path = written(tmp_path / "a.csv", *rows, encoding="utf-16", end="\r\n")
    assert refusal(path) == (
        f"'{path}': no columns hold conversations. Received: Frage, Antwort, Thema. Name them messages, or prompt and response, "
        "or set data.columns.prompt and data.columns.response."
    )
    found = read(path, columns=Columns(prompt="Frage", response="Antwort"))
    assert said(found.items[3]) == [("user", "f3"), ("assistant", "3")]
    assert f"'{path}' is read as UTF-16" in found.notes
    assert "unknown column 'frag'. Known: Antwort, Frage, Thema." in refusal(
        path, columns=Columns(prompt="frag", response="Antwort")
    )
    bom = written(
        tmp_path / "b.jsonl",
        "\ufeff" + json.dumps(chat(*EXPECTED)),
        chat(("user", "b"), ("assistant", "c")),
        end="\r\n",
    )
    assert len(read(bom)) == 2


def test_the_other_kind_is_named(tmp_path):
    texts = written(tmp_path / "texts.jsonl", {"text": "a"}, {"text": "b"})
    assert refusal(texts).endswith(" For texts without roles, set data.kind=language.")
    chats = written(tmp_path / "chats.jsonl", chat(*EXPECTED), chat(("user", "a"), ("assistant", "b")))
    assert refusal(chats, kind="language") == (
        f"'{chats}': no column is called text. Received: messages. For conversations, set data.kind=chat. Name the column with "
        "data.columns.input."
    )
    assert "holds no conversation to learn from: line 1 of" in refusal(
        tmp_path / "e.jsonl", chat(("user", "a")), chat(("user", "b"))
    )
    assert refusal(tmp_path / "none.jsonl").startswith(f"no data at '{tmp_path / 'none.jsonl'}'")


def test_one_conversation_in_a_json_file(tmp_path):
    (tmp_path / "one.json").write_text(json.dumps(chat(*EXPECTED)))
    found = read(tmp_path / "one.json")
    assert said(found.items[0]) == EXPECTED
    with pytest.raises(InputError, match=r"has 1 different example, too few for train, validation\. Add some"):
        corpus.divide(found)


def test_preferences_share_their_prompt(tmp_path):
    whole = chat(*EXPECTED)["messages"]
    found = read(
        tmp_path / "dpo.jsonl",
        {"prompt": "p", "chosen": "good", "rejected": "bad"},
        {"prompt": "What is 2 + 2?", "chosen": whole, "rejected": [whole[0], {"role": "assistant", "content": "5"}]},
        {"prompt": "p", "chosen": "same", "rejected": "same"},
        {"chosen": "no", "rejected": "prompt"},
    )
    assert found.preference_count == 2
    assert [(said(item), item.rejected, item.shared) for item in found.items] == [
        ([("user", "p"), ("assistant", "good")], ({"role": "assistant", "content": "bad"},), 1),
        (EXPECTED, ({"role": "assistant", "content": "5"},), 1),
    ]
    assert faults(found) == {
        "line 3": "its chosen and rejected answers are equal",
        "line 4": "it has no prompt: neither a column with it, nor messages that its chosen and rejected answers share",
    }


def test_preferences_as_other_programs_write_them(tmp_path):
    user, good, bad = (
        {"role": role, "content": text} for role, text in (("user", "q"), ("assistant", "g"), ("assistant", "b"))
    )
    turns = "\n\nHuman: first\n\nAssistant: answer\n\nHuman: q\n\nAssistant: "
    found = read(
        tmp_path / "pairs.jsonl",
        {"prompt": [user], "chosen": [good], "rejected": [bad]},
        {"chosen": [user, good], "rejected": [user, {**bad, "content": "b2", "weight": 0}]},
        {"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "g"}, "rejected": "b3"},
        {"instruction": "do", "input": "this", "chosen": "g", "rejected": "b"},
        {"chosen": turns + "g", "rejected": turns + "b"},
        {"prompt": [user, good], "chosen": "g2", "rejected": "b"},
    )
    assert [(said(item), item.rejected[-1]["content"], item.shared, sorted(item.given)) for item in found.items] == [
        ([("user", "q"), ("assistant", "g")], "b", 1, []),
        ([("user", "q"), ("assistant", "g")], "b2", 1, []),
        ([("user", "q"), ("assistant", "g")], "b3", 1, []),
        ([("user", "do\n\nthis"), ("assistant", "g")], "b", 1, []),
        ([("user", "first"), ("assistant", "answer"), ("user", "q"), ("assistant", "g")], "b", 3, [1]),
    ]
    assert all("weight" not in message for item in found.items for message in item.rejected)
    assert faults(found) == {
        "line 6": "its prompt ends with an answer of the assistant, and not with a message before the two answers"
    }


def test_parts_of_a_folder_and_equal_conversations_in_them(tmp_path):
    rows = [chat(("user", f"q{number}"), ("assistant", "a")) for number in range(10)]
    written(tmp_path / "train.jsonl", *rows)
    written(tmp_path / "test.jsonl", rows[0], chat(("user", "q1"), ("assistant", "other")))
    (tmp_path / "README.md").write_text("about")
    found = read(tmp_path)
    divided = corpus.divide(found, validation_fraction=0.2)
    assert {part: len(items) for part, items in divided.items()} == {"train": 7, "validation": 2, "test": 2}
    assert corpus.describe(found, divided) == [
        f"source: '{tmp_path}'",
        "layout: one JSON object per line in 2 files, with 'messages'",
        "examples: 7 train, 2 validation, 2 test",
        "messages: 11 of the assistant, 11 of the user",
        f"skipped: 1 copy of a held-out example (line 1 of '{tmp_path / 'train.jsonl'}': it equals line 1 of "
        f"'{tmp_path / 'test.jsonl'}')",
        "note: the training part has 1 prompt of the held-out parts too, with other answers",
    ]


def test_a_column_of_parts_and_groups(tmp_path):
    rows = [
        chat(("user", f"q{n}"), ("assistant", "a"), split="test" if n == 0 else "train", who=f"g{n % 4}")
        for n in range(12)
    ]
    found = read(tmp_path / "a.jsonl", *rows, columns=Columns(group="who"))
    divided = corpus.divide(found, validation_fraction=0.3)
    assert [said(item)[0][1] for item in divided["test"]] == ["q0"]
    who = {part: {int(said(item)[0][1][1:]) % 4 for item in items} for part, items in divided.items() if part != "test"}
    assert not who["train"] & who["validation"]


def test_equal_prompts_stay_together_and_new_rows_move_few(tmp_path):
    rows = [chat(("user", f"q{n // 2}"), ("assistant", f"a{n}")) for n in range(40)]
    before = corpus.divide(read(tmp_path / "a.jsonl", *rows), validation_fraction=0.25, seed=3)
    prompts = {part: {said(item)[0][1] for item in items} for part, items in before.items()}
    assert not prompts["train"] & prompts["validation"]
    after = corpus.divide(
        read(tmp_path / "b.jsonl", *rows, chat(("user", "new"), ("assistant", "a"))), validation_fraction=0.25, seed=3
    )
    moved = prompts["validation"] ^ {said(item)[0][1] for item in after["validation"]}
    assert len(moved - {"new"}) <= 1


def test_texts_of_files(tmp_path):
    (tmp_path / "book.txt").write_text("One two.\n\n" * 100)
    found = read(tmp_path / "book.txt", kind="language")
    divided = corpus.divide(found, validation_fraction=0.2, test_fraction=0.1)
    texts = [items[0].text for items in divided.values()]
    assert [len(text.split("\n\n")) for text in texts] == [70, 20, 10]
    assert all(text.startswith("One") and text.endswith("two.") for text in texts)
    assert divided["test"][0].row == f"characters 901 to 998 of '{tmp_path / 'book.txt'}'"
    for name, text in {
        "train/a.txt": "a",
        "train/b.txt": "b",
        "valid/c.txt": "c",
        "valid/d.txt": " ",
        "x.pdf": "x",
    }.items():
        (tmp_path / "docs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "docs" / name).write_text(text)
    found = read(tmp_path / "docs", kind="language")
    assert {part: [item.text for item in items] for part, items in corpus.divide(found).items()} == {
        "train": ["a", "b"],
        "validation": ["c"],
    }
    assert [item.reason for item in found.skipped] == ["it has no text"]
    assert found.notes == ("did not read 1 file .pdf",)
    (tmp_path / "nothing").mkdir()
    assert "must hold text files (.txt). Received: an empty folder." in refusal(tmp_path / "nothing", kind="language")


def test_a_table_of_texts(tmp_path):
    found = read(
        tmp_path / "t.jsonl", {"text": "a", "url": "u"}, {"text": ""}, {"text": 3}, {"text": "b"}, kind="language"
    )
    assert [item.text for item in found.items] == ["a", "b"]
    assert faults(found) == {
        "line 2": "the column 'text' is empty",
        "line 3": "the column 'text' must hold texts, and has 3",
    }
    assert found.notes == (f"'{tmp_path / 't.jsonl'}': did not read the columns 'url'",)
    joined = read(
        tmp_path / "u.jsonl",
        {"title": "a", "story": "b"},
        {"title": "c"},
        kind="language",
        columns=Columns(input=("title", "story")),
    )
    assert [item.text for item in joined.items] == ["a b", "c"]


def test_contexts_of_questions_and_greetings(tmp_path):
    question = {"context": "Two twos.", "question": "How many?", "answer": 4}
    item = read(tmp_path / "q.jsonl", question).items[0]
    assert said(item) == [("user", "How many?\n\nTwo twos."), ("assistant", "4")]
    reason = "the column 'context' must be a text, and is {'title': ['a']}"
    assert faults(read(tmp_path / "c.jsonl", question, {**question, "context": {"title": ["a"]}})) == {"line 2": reason}
    rows = [chat(("assistant", "Hello!"), ("user", str(number)), ("assistant", "k")) for number in range(9)]
    whole = read(tmp_path / "g.jsonl", *rows)
    assert [len(item.prompt) for item in whole.items] == [2] * 9
    assert len(corpus.divide(whole, validation_fraction=0.3)["validation"]) == 3


def test_calls_of_functions_in_the_forms_of_openai(tmp_path):
    user, schema = {"role": "user", "content": "Rain?"}, {"name": "w", "parameters": {}}
    call = {"name": "w", "arguments": '{"place": "Rome"}'}
    expected = {"type": "function", "function": {"name": "w", "arguments": {"place": "Rome"}}}
    new = [
        user,
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": call}]},
    ]
    old = [user, {"role": "assistant", "content": None, "function_call": call}]
    wrong = [user, {"role": "assistant", "tool_calls": [{"function": {"name": "w", "arguments": "{"}}]}]
    found = read(
        tmp_path / "calls.jsonl",
        {"messages": new, "tools": [{"type": "function", "function": schema}]},
        {"messages": wrong},
        {"messages": [user, {"role": "assistant", "tool_calls": [{"id": "c"}]}]},
    )
    earlier = read(tmp_path / "functions.jsonl", {"messages": old, "functions": [schema]})
    assert [item.items[0].messages[1]["tool_calls"] for item in (found, earlier)] == [
        [{"id": "c", **expected}],
        [expected],
    ]
    assert [item.items[0].tools for item in (found, earlier)] == [({"type": "function", "function": schema},)] * 2
    assert faults(found) == {
        "line 2": "message 2 has arguments of a function that are no JSON: '{'",
        "line 3": "message 2 has a call of a function without a name",
    }


def test_messages_of_trees_and_folders_of_programs(tmp_path):
    row = {"message_id": "a", "parent_id": None, "role": "prompter", "text": "Hi"}
    message = refusal(tmp_path / "trees.jsonl", row, row)
    assert message.endswith(
        "Its rows are messages of trees, as those of OpenAssistant: write the messages of a path in each row."
    )
    sentence = "conversations and texts for language models are files, or hf:NAME. Received: 'tfds:imdb'."
    assert refusal("tfds:imdb").startswith(sentence)
    folder = tmp_path / "programs"
    written(folder / "a.py", "a = 1")
    written(folder / "b" / "c.js", "let b = 2")
    written(folder / "d.pdf", "%PDF")
    found = read(folder, kind="language")
    assert [item.text for item in found.items] == ["a = 1", "let b = 2"]
    assert found.notes == ("did not read 1 file .pdf",)
    written(folder / "e.md", "Text")
    found = read(folder, kind="language")
    assert [item.text for item in found.items] == ["Text"]
    assert set(found.notes) == {f"did not read 1 file {suffix}" for suffix in (".py", ".js", ".pdf")}
