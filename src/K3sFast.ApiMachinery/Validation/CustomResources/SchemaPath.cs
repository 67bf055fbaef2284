namespace K3sFast.ApiMachinery;

/// <summary>Paths into a schema as selectable fields and rules write them: <c>.spec.replicas</c>, <c>.spec['a.b']</c>.</summary>
internal static class SchemaPath
{
    /// <summary>Follows a path through a schema's properties and, by any name, its additional properties.</summary>
    /// <param name="path">The path.</param>
    /// <param name="schema">The schema it starts at.</param>
    /// <param name="allowsBrackets">Whether ['name'] is taken.</param>
    /// <param name="found">The schema of the place.</param>
    /// <param name="name">The path as upstream writes it: names joined by dots, keys in brackets.</param>
    /// <returns>What is wrong, in upstream's words; null when the place exists.</returns>
    internal static string? Find(string path, ApiNode schema, bool allowsBrackets, out ApiNode found, out string name)
    {
        found = schema;
        name = "";
        for (int i = 0; i < path.Length;)
        {
            string token = Next(path, ref i);
            string? step = null;
            if (token == "[")
            {
                if (!allowsBrackets)
                    return "array notation is not allowed";
                if (i >= path.Length)
                    return "unexpected end of JSON path";
                token = Next(path, ref i);
                if (token.Length < 2 || token[0] != '\'' || token[^1] != '\'')
                    return $"expected single quoted string but got {token}";
                step = token[1..^1].Replace("\\'", "'", StringComparison.Ordinal).Replace("\\\\", "\\", StringComparison.Ordinal);
                if (i >= path.Length)
                    return "unexpected end of JSON path";
                if (Next(path, ref i) is var end && end != "]")
                    return $"expected ] but got {end}";
            }
            else if (token == ".")
            {
                if (i >= path.Length)
                    return "unexpected end of JSON path";
                step = Next(path, ref i);
            }
            else
            {
                return $"expected [ or . but got: {token}";
            }
            bool isNamed = found["properties"u8].Count > 0;
            var next = isNamed ? found["properties"u8][System.Text.Encoding.UTF8.GetBytes(step)] : found["additionalProperties"u8];
            if (next.Kind != NodeKind.Object)
                return "does not refer to a valid field";
            found = next;
            name = isNamed ? name.Length == 0 ? step : $"{name}.{step}" : $"{name}[{step}]";
        }
        return null;
    }

    private static string Next(string path, ref int i)
    {
        int start = i;
        if (path[i] is '.' or '[' or ']')
        {
            i++;
        }
        else if (path[i] == '\'')
        {
            i++;
            while (i < path.Length && !(path[i] == '\'' && path[i - 1] != '\\'))
                i++;
            i = Math.Min(i + 1, path.Length);
        }
        else
        {
            while (i < path.Length && path[i] is not ('.' or '[' or ']'))
                i++;
        }
        return path[start..i];
    }
}
