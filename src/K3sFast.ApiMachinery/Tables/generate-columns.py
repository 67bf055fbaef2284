#!/usr/bin/env python3
"""Writes TableColumns.Data.cs from the facts table of print columns: generate-columns.py printcolumns.tsv > TableColumns.Data.cs

One line a kind: group (core = -), kind, then name:type:format:priority of each column. Kinds with the default columns are left out.
"""
import csv
import sys

kinds = {}
for row in csv.DictReader(open(sys.argv[1]), delimiter="\t", quoting=csv.QUOTE_NONE):
    if row["source"] in ("table", "custom", "metrics-server") and not row["kind"].startswith("("):
        kinds.setdefault((row["group"] or "-", row["kind"]), []).append((int(row["index"]), row))

print("// Written by generate-columns.py; change the facts or the generator, not this file.")
print("namespace K3sFast.ApiMachinery;")
print()
print("internal static partial class TableColumns")
print("{")
print("    private const string Text = \"\"\"")
for (group, kind), columns in sorted(kinds.items()):
    cells = [f"{c['name']}:{c['type']}:{c['format']}:{c['priority']}" for _, c in sorted(columns, key=lambda pair: pair[0])]
    print(f"        {group}|{kind}|" + "|".join(cells))
print("        \"\"\";")
print("}")
