#!/usr/bin/env python3
"""Writes DefaultsTable.cs from the facts table of defaulting rules: generate-table.py defaults.tsv > DefaultsTable.cs

Only rules that are "set this literal when the field is absent" become data. A rule that looks at another field, at the
clock or at the object's name is code in DefaultingRules*.cs and is listed on standard error, so that none gets lost.
"""
import csv
import json
import re
import sys

WHEN = {"nil": "nil", "empty": "empty", "0": "zero"}
# Reached through one kind only, so that the rule can stand on the element's own type.
MOVED = {("io.k8s.api.core.v1.Endpoints", "subsets[].ports[].protocol"): ("io.k8s.api.core.v1.EndpointPort", "protocol")}
# The same rule stands on the element's type already.
DROPPED = {("io.k8s.api.core.v1.Service", "spec.ports[].protocol")}


def literal(text):
    if text.startswith('""'):
        return '""' if re.fullmatch(r'""( \(.*\))?', text) else None
    if text == "{}":
        return text
    if re.fullmatch(r"-?[0-9]+|true|false", text):
        return text
    listed = re.fullmatch(r"\[([A-Za-z]+)\]", text)
    if listed:
        return json.dumps([listed.group(1)])
    return json.dumps(text) if re.fullmatch(r"[A-Za-z0-9/._*%-]+", text) else None


rules, code = set(), set()
for row in csv.DictReader(open(sys.argv[1]), delimiter="\t", quoting=csv.QUOTE_NONE):
    if row["stage"] != "generated":
        continue
    key = (row["owner_type"], row["owner_path"])
    if key in DROPPED:
        continue
    value = literal(row["value_or_rule"])
    when = WHEN.get(row["condition"])
    if value is None or when is None or "*" in row["owner_path"] or "[" in key[1] and key not in MOVED:
        code.add((*key, row["value_or_rule"], row["condition"]))
        continue
    rules.add((*MOVED.get(key, key), when, value))

print("// Written by generate-table.py; change the facts or the generator, not this file.")
print("namespace K3sFast.ApiMachinery;")
print()
print("internal static partial class DefaultsTable")
print("{")
print("    /// <summary>Type, path below it, what counts as absent (nil, empty, zero) and the JSON to set; sorted by type.</summary>")
print("    private static ReadOnlySpan<byte> Text => \"\"\"")
for rule in sorted(rules):
    print("        " + " ".join(rule))
print("        \"\"\"u8;")
print("}")
for rule in sorted(code):
    print("code: " + " | ".join(rule), file=sys.stderr)
