#!/usr/bin/env python3
"""Writes Rows.cases from the facts table of defaulting rules: generate-rows.py defaults.tsv > Rows.cases

One line a kind and path: group|version|kind|path|JSON that stands there when the object says nothing. Rules that look at
another field, the clock or the object's name are no rows; they have tests of their own.
"""
import csv
import json
import re
import sys

# Numbers that JSON carries as text.
QUANTITIES = ("allocationMultiplier",)


def literal(text):
    if text.startswith('""'):
        return '""' if re.fullmatch(r'""( \(.*\))?', text) else None
    if text == "{}" or re.fullmatch(r"-?[0-9]+|true|false", text):
        return text
    return json.dumps(text) if re.fullmatch(r"[A-Za-z0-9/._*%-]+", text) else None


lines = []
for row in csv.DictReader(open(sys.argv[1]), delimiter="\t", quoting=csv.QUOTE_NONE):
    if row["stage"] != "generated" or row["condition"] not in ("nil", "empty", "0"):
        continue
    value = literal(row["value_or_rule"])
    if row["json_path"].endswith(QUANTITIES):
        value = json.dumps(value)
    line = f"{row['group']}|{row['version']}|{row['kind']}|{row['json_path']}|{value}"
    if value is not None and line not in lines:
        lines.append(line)
print("\n".join(lines))
