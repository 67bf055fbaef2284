using System.Buffers.Binary;
using System.Text;

namespace K3sFast.Interop.Bpf;

/// <summary>A map as an object file asks for it.</summary>
internal sealed record BpfMapSpec(string Name, uint Type, uint KeySize, uint ValueSize, uint MaxEntries, uint Flags);

/// <summary>A program as it lies in an object file, its maps still to be put in.</summary>
/// <param name="Name">Of the function.</param>
/// <param name="Section">Says what it is attached to.</param>
/// <param name="Instructions">8 bytes each.</param>
/// <param name="Relocations">Where maps go.</param>
internal sealed record BpfProgramSpec(string Name, string Section, byte[] Instructions, IReadOnlyList<BpfRelocation> Relocations);

/// <summary>A load of 64 bits that takes a map's number.</summary>
/// <param name="Instruction">Its number.</param>
/// <param name="Map">Name of the map; null = a place in the read-only data.</param>
internal readonly record struct BpfRelocation(int Instruction, string? Map);

/// <summary>
/// What clang makes of a program for the kernel, read: maps, programs, read-only data. Knows no BTF: maps are structs of five words in the section
/// "maps", functions are inlined, so each section of code is one program.
/// </summary>
/// <remarks>
/// ELF64, gABI chapter 4: header of 64 bytes (e_shoff at 40, e_shentsize 58, e_shnum 60, e_shstrndx 62); section header of 64 (name 0, type 4, flags 8,
/// offset 24, size 32, link 40, info 44, entsize 56); symbol of 24 (name 0, info 4, shndx 6, value 8, size 16); REL entry of 16 (offset 0, info 8).
/// Pure; any thread.
/// </remarks>
internal sealed class BpfObject
{
    private const int HeaderSize = 64, SectionHeaderSize = 64, SymbolSize = 24, RelocationSize = 16, InstructionSize = 8, MapSize = 20;

    // elf.h, linux/elf-em.h
    private const ushort MachineBpf = 247;
    private const uint SectionSymbols = 2, SectionRelocations = 9;
    private const ulong FlagExecutable = 4;
    private const int SymbolFunction = 2;
    private const uint RelocationMap = 1;

    // BPF_LD | BPF_IMM | BPF_DW: two instructions long.
    private const byte LoadWide = 0x18;

    // Far above anything of ours; what says more is no object of ours.
    private const int MaxProgramBytes = 1 << 20;

    private BpfObject(IReadOnlyList<BpfMapSpec> maps, IReadOnlyList<BpfProgramSpec> programs, byte[] readOnlyData, string license) =>
        (Maps, Programs, ReadOnlyData, License) = (maps, programs, readOnlyData, license);

    /// <summary>Maps in the file's order.</summary>
    internal IReadOnlyList<BpfMapSpec> Maps { get; }

    /// <summary>Programs in the file's order.</summary>
    internal IReadOnlyList<BpfProgramSpec> Programs { get; }

    /// <summary>Constants that the programs read.</summary>
    internal byte[] ReadOnlyData { get; }

    /// <summary>What the kernel is told.</summary>
    internal string License { get; }

    /// <summary>Reads an object file.</summary>
    /// <exception cref="InvalidDataException">It is none, or has something that this reader does not know.</exception>
    internal static BpfObject Parse(ReadOnlySpan<byte> file)
    {
        if (file.Length < HeaderSize || !file.StartsWith("\u007fELF"u8)) throw Malformed("not an ELF file");
        // 64 bits, little endian, version 1; a relocatable file for BPF.
        if (file[4] != 2 || file[5] != 1 || !BitConverter.IsLittleEndian || Half(file, 18) != MachineBpf) throw Malformed("not an object for this machine's kernel");
        var sections = ReadSections(file);
        var (maps, code, readOnly, license) = (new List<BpfMapSpec>(), new SortedDictionary<int, BpfProgramSpec>(), Array.Empty<byte>(), "");
        var symbolSection = sections.FindIndex(section => section.Type == SectionSymbols);
        var symbols = symbolSection < 0 ? [] : ReadSymbols(file, sections, sections[symbolSection]);
        var (mapSection, dataSection) = (sections.FindIndex(section => section.Name == "maps"), sections.FindIndex(section => section.Name == ".rodata"));
        var mapNames = new Dictionary<ulong, string>();
        if (mapSection >= 0) ReadMaps(Content(file, sections[mapSection]), mapSection, symbols, maps, mapNames);
        if (dataSection >= 0) readOnly = Content(file, sections[dataSection]).ToArray();
        for (var i = 0; i < sections.Count; i++)
        {
            var section = sections[i];
            if (section.Name == "license") license = Text(Content(file, section), 0);
            if ((section.Flags & FlagExecutable) == 0 || section.Size == 0) continue;
            var instructions = Content(file, section);
            if (instructions.Length % InstructionSize != 0 || instructions.Length > MaxProgramBytes) throw Malformed($"section {section.Name} holds no program");
            var name = symbols.Find(symbol => symbol.Kind == SymbolFunction && symbol.Section == i && symbol.Value == 0).Name ?? section.Name;
            code[i] = new BpfProgramSpec(name, section.Name, instructions.ToArray(), new List<BpfRelocation>());
        }
        foreach (var section in sections)
        {
            if (section.Type != SectionRelocations || !code.TryGetValue((int)Math.Min(section.Info, int.MaxValue), out var program)) continue;
            ReadRelocations(Content(file, section), program, symbols, mapSection, dataSection, mapNames);
        }
        return new BpfObject(maps, [.. code.Values], readOnly, license);
    }

    private static List<Section> ReadSections(ReadOnlySpan<byte> file)
    {
        var (offset, size, count, names) = (Wide(file, 40), Half(file, 58), Half(file, 60), Half(file, 62));
        if (size != SectionHeaderSize || names >= count) throw Malformed("no table of sections");
        var table = Part(file, offset, (ulong)count * SectionHeaderSize, "table of sections");
        var nameHeader = table[(names * SectionHeaderSize)..];
        var strings = Part(file, Wide(nameHeader, 24), Wide(nameHeader, 32), "names of sections");
        var sections = new List<Section>(count);
        for (var i = 0; i < count; i++)
        {
            var header = table.Slice(i * SectionHeaderSize, SectionHeaderSize);
            sections.Add(new Section(Text(strings, Word(header, 0)), Word(header, 4), Wide(header, 8), Wide(header, 24), Wide(header, 32), Word(header, 40), Word(header, 44)));
        }
        return sections;
    }

    private static List<Symbol> ReadSymbols(ReadOnlySpan<byte> file, List<Section> sections, Section section)
    {
        if (section.Link >= sections.Count) throw Malformed("symbols without names");
        var strings = Content(file, sections[(int)section.Link]);
        var table = Content(file, section);
        var symbols = new List<Symbol>(table.Length / SymbolSize);
        for (; table.Length >= SymbolSize; table = table[SymbolSize..])
        {
            symbols.Add(new Symbol(Text(strings, Word(table, 0)), table[4] & 15, Half(table, 6), Wide(table, 8)));
        }
        return symbols;
    }

    private static void ReadMaps(ReadOnlySpan<byte> content, int section, List<Symbol> symbols, List<BpfMapSpec> maps, Dictionary<ulong, string> names)
    {
        foreach (var symbol in symbols)
        {
            if (symbol.Section != section || symbol.Name.Length == 0) continue;
            var spec = Part(content, symbol.Value, MapSize, "map " + symbol.Name);
            if (!names.TryAdd(symbol.Value, symbol.Name)) throw Malformed($"maps {names[symbol.Value]} and {symbol.Name} lie at one place");
            maps.Add(new BpfMapSpec(symbol.Name, Word(spec, 0), Word(spec, 4), Word(spec, 8), Word(spec, 12), Word(spec, 16)));
        }
    }

    private static void ReadRelocations(
        ReadOnlySpan<byte> table, BpfProgramSpec program, List<Symbol> symbols, int mapSection, int dataSection, Dictionary<ulong, string> mapNames)
    {
        for (; table.Length >= RelocationSize; table = table[RelocationSize..])
        {
            var (offset, type, number) = (Wide(table, 0), Word(table, 8), Word(table, 12));
            // The load is two instructions long.
            if (offset % InstructionSize != 0 || offset + (2 * InstructionSize) > (ulong)program.Instructions.Length || offset > MaxProgramBytes || number >= symbols.Count
                || type != RelocationMap || program.Instructions[(int)offset] != LoadWide)
            {
                throw Malformed($"program {program.Name} refers to something in a way that is not known here");
            }
            var symbol = symbols[(int)number];
            string? map = null;
            if (symbol.Section == mapSection && mapSection >= 0)
            {
                if (!mapNames.TryGetValue(symbol.Value, out map)) throw Malformed($"program {program.Name} refers to no map");
            }
            else if (symbol.Section != dataSection || dataSection < 0)
            {
                throw Malformed($"program {program.Name} refers to {symbol.Name}, which is neither map nor constant");
            }
            ((List<BpfRelocation>)program.Relocations).Add(new BpfRelocation((int)offset / InstructionSize, map));
        }
    }

    private static ReadOnlySpan<byte> Content(ReadOnlySpan<byte> file, Section section) => Part(file, section.Offset, section.Size, "section " + section.Name);

    private static ReadOnlySpan<byte> Part(ReadOnlySpan<byte> bytes, ulong offset, ulong size, string what) =>
        offset <= (ulong)bytes.Length && size <= (ulong)bytes.Length - offset ? bytes.Slice((int)offset, (int)size) : throw Malformed($"{what} lies outside");

    private static string Text(ReadOnlySpan<byte> strings, uint offset)
    {
        if (offset >= strings.Length) return offset == 0 ? "" : throw Malformed("a name lies outside");
        var rest = strings[(int)offset..];
        var end = rest.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? rest : rest[..end]);
    }

    private static ushort Half(ReadOnlySpan<byte> bytes, int offset) => BinaryPrimitives.ReadUInt16LittleEndian(bytes[offset..]);

    private static uint Word(ReadOnlySpan<byte> bytes, int offset) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[offset..]);

    private static ulong Wide(ReadOnlySpan<byte> bytes, int offset) => BinaryPrimitives.ReadUInt64LittleEndian(bytes[offset..]);

    private static InvalidDataException Malformed(string what) => new("BPF object: " + what);

    private sealed record Section(string Name, uint Type, ulong Flags, ulong Offset, ulong Size, uint Link, uint Info);

    private readonly record struct Symbol(string Name, int Kind, int Section, ulong Value);
}
