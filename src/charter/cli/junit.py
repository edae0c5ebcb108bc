"""Test results in JUnit's XML, as CI servers read it: a suite for each file of tests, one for coverage.

Written by the standard library alone, with every text made fit for XML 1.0: a control character in a name would make
the whole file unreadable. Nothing stands in it that the strict schema of Jenkins (junit-10) does not have.
"""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

_UNFIT = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: dict[str, Any], seconds: float) -> bytes:
    """Return the results that `charter test --json` prints, as one XML document."""
    suites: dict[str, list[ET.Element]] = {}
    for each in report["results"]:
        suites.setdefault(_file(each), []).append(_case(each, failure_of(each)))
    for each in report["properties"]:
        suites.setdefault(_file(each), []).append(_case(each, None if each["passed"] else each["why"]))
    whole = report["passed"] + report["failed"]
    root = ET.Element("testsuites", _counts("charter test", whole, report["failed"], seconds))
    for name, cases in suites.items():
        failed = sum(case.find("failure") is not None for case in cases)
        counts = _counts(name, len(cases), failed, seconds if len(suites) == 1 else 0)
        suite = ET.SubElement(root, "testsuite", counts | {"file": _fit(name)})
        suite.extend(cases)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _counts(name: str, tests: int, failures: int, seconds: float) -> dict[str, str]:
    counts = {"name": _fit(name), "tests": str(tests), "failures": str(failures), "errors": "0"}
    return counts | {"time": f"{seconds:.3f}"}


def _case(each: dict[str, Any], failure: str | None) -> ET.Element:
    classname = _file(each).removeprefix("tests/").removesuffix(".yaml").replace("/", ".")
    attributes = {"name": each["name"], "classname": classname, "time": "0.000"}
    case = ET.Element("testcase", {name: _fit(value) for name, value in attributes.items()})
    if failure is not None:
        told = ET.SubElement(case, "failure", {"message": _fit(failure[:500]), "type": "failed"})
        told.text = _fit(f"{each['source']}: {failure}")
    out = ET.SubElement(case, "system-out")
    out.text = _fit(each["why"])
    return case


def failure_of(each: dict[str, Any]) -> str | None:
    """Return how the result of a case or property, as JSON, differs from what was expected; None if it does not."""
    if each["passed"]:
        return None
    if each["expected"] == each["got"]:  # as expected, and by another rule, with another limit
        return f"expected {each['expected']} otherwise: {each['why']}"
    return f"expected {each['expected']}, got {each['got']}: {each['why']}"


def _file(each: dict[str, Any]) -> str:
    return str(each["source"]).partition(":")[0]


def _fit(text: str) -> str:
    """Return `text` with what XML 1.0 cannot hold replaced."""
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text)
