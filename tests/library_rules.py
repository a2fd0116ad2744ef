"""What arduino-lint, the Arduino library specification and PlatformIO's manifest schema ask, restated.

A rule takes a library as {path: text} and the name of its folder; it returns what is wrong. Each has a way to break it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, NamedTuple

Library = dict[str, str]
REQUIRED = ("name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures")
CATEGORIES = {
    "Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing", "Data Storage",
    "Data Processing", "Other",
}  # fmt: skip
FIELDS = {*REQUIRED, "includes"}
SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
TOKENS = ("KEYWORD1", "KEYWORD2", "KEYWORD3", "LITERAL1", "LITERAL2")
SPDX = {"0BSD", "MIT", "Apache-2.0"}  # the few of the list that could be meant


class Rule(NamedTuple):
    """What is asked, and a change of the library that breaks it."""

    wrong: Callable[[Library, str], object]
    broken: Callable[[Library], tuple[Library, str]]


def properties(library: Library) -> dict[str, str]:
    lines = [line for line in library["library.properties"].splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def manifest(library: Library) -> dict[str, Any]:
    return dict(json.loads(library["library.json"]))


def headers(library: Library) -> list[str]:
    return [PurePosixPath(path).name for path in library if re.fullmatch(r"(src|include)/[^/]+\.h", path)]


def sketches(library: Library) -> list[PurePosixPath]:
    return [PurePosixPath(path) for path in library if path.startswith("examples/")]


def _keywords(library: Library, _: str) -> object:
    """One true tab between a word and its token; no word twice."""
    lines = [line for line in library["keywords.txt"].split("\n") if line and not line.startswith("#")]
    bad = [line for line in lines if not re.fullmatch(rf"[A-Za-z]\w*\t({'|'.join(TOKENS)})", line)]
    words = [line.split("\t")[0] for line in lines]
    return bad or len(words) - len(set(words)) or not words


def _sketches(library: Library, _: str) -> object:
    return not sketches(library) or [
        path for path in sketches(library) if path.suffix != ".ino" or path.stem != path.parent.name
    ]


def _examples(library: Library, _: str) -> object:
    """PlatformIO: each example has a name of few characters and files that exist; every sketch is one."""
    listed = manifest(library)["examples"]
    files = [f"{example['base']}/{file}" for example in listed for file in example["files"]]
    bad = [example for example in listed if not re.fullmatch(r"[a-zA-Z\d_/-]{1,100}", example["name"])]
    return bad or set(files) ^ set(map(str, sketches(library)))


def _words(key: str, form: str) -> Callable[[Library, str], object]:
    def wrong(library: Library, _: str) -> object:
        value = manifest(library)[key]
        return [word for word in ([value] if isinstance(value, str) else value) if not re.fullmatch(form, word)]

    return wrong


def edit(path: str, old: str, new: str) -> Callable[[Library], tuple[Library, str]]:
    """A library with one text changed by a pattern, in every file whose path matches `path`."""

    def broken(library: Library) -> tuple[Library, str]:
        made = {p: re.sub(old, new, text, flags=re.MULTILINE) if re.search(path, p) else text
                for p, text in library.items()}  # fmt: skip
        assert made != library
        return made, "soh"

    return broken


def moved(old: str, new: str | None) -> Callable[[Library], tuple[Library, str]]:
    """A library whose paths are renamed by a pattern; None loses the files."""

    def broken(library: Library) -> tuple[Library, str]:
        made = {re.sub(old, new or "", path): text for path, text in library.items()
                if new is not None or not re.search(old, path)}  # fmt: skip
        assert made != library
        return made, "soh"

    return broken


PROPERTIES = r"library\.properties"
MANIFEST = r"library\.json"
ARDUINO: dict[str, Rule] = {
    "the folder's name": Rule(lambda _, folder: not FILE_NAME.fullmatch(folder), lambda library: (library, "so h")),
    "its length": Rule(lambda _, folder: len(folder) > 63, lambda library: (library, "s" * 64)),
    "a header in src": Rule(
        lambda library, _: not any(re.fullmatch(r"src/[^/]+\.h", path) for path in library), moved("^src/.*h$", None)
    ),
    "nothing executable, hidden or linked": Rule(
        lambda library, _: [path for path in library if re.search(r"(^|/)\.|\.(exe|pde|a|o)$", path)],
        moved("LICENSE", ".development"),
    ),
    "the case of folders": Rule(
        lambda library, _: {p.split("/")[0] for p in library if "/" in p} - {"src", "examples"}, moved("src", "Src")
    ),
    "a licence": Rule(lambda library, _: "LICENSE" not in library, moved("LICENSE", None)),
    "a readme": Rule(lambda library, _: "README.md" not in library, moved("README", None)),
    "examples": Rule(_sketches, moved("Forecast.ino", "forecast.ino")),
    "sketch names": Rule(
        lambda library, _: [path for path in sketches(library) if not FILE_NAME.fullmatch(path.name)],
        moved("Forecast", "Fore cast"),
    ),
    "every field": Rule(
        lambda library, _: [key for key in REQUIRED if not properties(library).get(key, "").strip()],
        edit(PROPERTIES, "^url=.*", "url="),
    ),
    "no other field": Rule(lambda library, _: set(properties(library)) - FIELDS, edit(PROPERTIES, "^url", "homepage")),
    "one line for each field": Rule(
        lambda library, _: [line for line in library["library.properties"].splitlines() if "=" not in line],
        edit(PROPERTIES, "; ", "\n"),
    ),
    "the name": Rule(
        lambda library, _: not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}", properties(library)["name"]),
        edit(PROPERTIES, "^name=.*", "name=so(h)"),
    ),
    "a name that is not Arduino's": Rule(
        lambda library, _: properties(library)["name"].lower().startswith("arduino"),
        edit(PROPERTIES, "^name=.*", "name=Arduino_SOH"),
    ),
    "a maintainer who is not Arduino": Rule(
        lambda library, _: properties(library)["maintainer"].lower().startswith("arduino"),
        edit(PROPERTIES, "^maintainer=.*", "maintainer=Arduino"),
    ),
    "a header of the library's name": Rule(
        lambda library, _: f"{properties(library)['name']}.h" not in headers(library), moved(r"src/soh\.h", "src/x.h")
    ),
    "the version": Rule(
        lambda library, _: not SEMVER.fullmatch(properties(library)["version"]), edit(PROPERTIES, r"0\.1\.0", "0.1")
    ),
    "a paragraph that says more": Rule(
        lambda library, _: properties(library)["sentence"] in properties(library)["paragraph"],
        edit(PROPERTIES, "^sentence=.*", "sentence=Integers only"),
    ),
    "the category": Rule(
        lambda library, _: properties(library)["category"] not in CATEGORIES, edit(PROPERTIES, "Data ", "data ")
    ),
    "the address": Rule(
        lambda library, _: not re.fullmatch(r"https?://[\w.-]+\.\w+(/\S*)?", properties(library)["url"]),
        edit(PROPERTIES, "https://", ""),
    ),
    "architectures": Rule(
        lambda library, _: not re.fullmatch(r"\*|\w+(,\w+)*", properties(library)["architectures"]),
        edit(PROPERTIES, r"\*", ""),
    ),
    "what is included": Rule(
        lambda library, _: set(properties(library)["includes"].split(",")) - set(headers(library)),
        edit(PROPERTIES, r"soh\.h", "lnn.h"),
    ),
    "a true tab": Rule(_keywords, edit("keywords", "\t", "    ")),
    "each word once": Rule(_keywords, edit("keywords", "^soh_state\t", "soh_scratch\t")),
}
PLATFORMIO: dict[str, Rule] = {
    "name": Rule(lambda lib, _: not re.fullmatch(r"[^:;/,@<>]{1,100}", manifest(lib)["name"]),
                 edit(MANIFEST, '"name": "soh"', '"name": "soh@home"')),
    "version": Rule(lambda lib, _: not SEMVER.fullmatch(manifest(lib)["version"]),
                    edit(MANIFEST, r"0\.1\.0", "one")),
    "description": Rule(lambda lib, _: not 1 <= len(manifest(lib)["description"]) <= 255,
                        edit(MANIFEST, '"description": ".*"', '"description": ""')),
    "keywords": Rule(_words("keywords", r"[a-z\d+. -]{1,50}"), edit(MANIFEST, "tinyml", "TinyML")),
    "license": Rule(lambda lib, _: manifest(lib)["license"] not in SPDX, edit(MANIFEST, "0BSD", "free")),
    "authors": Rule(lambda lib, _: [a for a in manifest(lib)["authors"] if not 1 <= len(a["name"]) <= 50],
                    edit(MANIFEST, "The lnnc authors", "")),
    "frameworks": Rule(_words("frameworks", r"[a-z\d_-]{1,50}|\*"), edit(MANIFEST, r'"\*",$', '"Arduino",')),
    "platforms": Rule(_words("platforms", r"[a-z\d_-]{1,50}|\*"), edit(MANIFEST, r'"\*",$', '"A B",')),
    "headers": Rule(lambda lib, _: manifest(lib)["headers"] not in headers(lib), edit(MANIFEST, r"soh\.h", "lnn.h")),
    "examples": Rule(_examples, moved("Forecast.ino", "Other.ino")),
}  # fmt: skip
