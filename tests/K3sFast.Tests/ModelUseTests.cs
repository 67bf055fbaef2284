using System.Collections.Immutable;
using System.Reflection.Metadata;
using System.Reflection.Metadata.Ecma335;
using System.Reflection.PortableExecutable;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Tests;

/// <summary>Every model that any part of the program reads or writes has its JSON metadata: a missing one would be found only when it is first used.</summary>
public sealed class ModelUseTests
{
    [Fact]
    public void Models_OfAllCallsInAllParts_HaveMetadata()
    {
        var used = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var file in Directory.EnumerateFiles(AppContext.BaseDirectory, "*.dll"))
        {
            var name = Path.GetFileNameWithoutExtension(file);
            if ((name.StartsWith("K3sFast.", StringComparison.Ordinal) || name == "k3sfast") && !name.EndsWith("Tests", StringComparison.Ordinal)) Collect(file, used);
        }
        Assert.Contains("V1Pod", used);
        Assert.Contains("IList`1<V1Endpoint>", used);
        Assert.InRange(used.Count, 50, int.MaxValue);
        var missing = used.Where(static name => TypeOf(name) is not { } type || !ModelJson.Options.TryGetTypeInfo(type, out _));
        Assert.Empty(missing);
    }

    private static Type? TypeOf(string name)
    {
        var inner = name.StartsWith("IList`1<", StringComparison.Ordinal) ? name[8..^1] : name;
        var type = typeof(V1Pod).Assembly.GetType("k8s.Models." + inner) ?? typeof(PartialObject).Assembly.GetType("K3sFast.Client." + inner);
        return type is null || inner == name ? type : typeof(IList<>).MakeGenericType(type);
    }

    // Type arguments of calls of the client and of ModelJson, and of resources and informers; type parameters are somebody else's arguments.
    private static void Collect(string file, SortedSet<string> used)
    {
        using var image = new PEReader(File.OpenRead(file));
        var reader = image.GetMetadataReader();
        var names = new TypeNames();
        for (var row = 1; row <= reader.GetTableRowCount(TableIndex.MethodSpec); row++)
        {
            var call = reader.GetMethodSpecification(MetadataTokens.MethodSpecificationHandle(row));
            if (OwnerOf(reader, call.Method) is not ("ModelJson" or "ApiClient")) continue;
            foreach (var argument in call.DecodeSignature(names, null)) Add(argument);
        }
        for (var row = 1; row <= reader.GetTableRowCount(TableIndex.TypeSpec); row++)
        {
            var type = reader.GetTypeSpecification(MetadataTokens.TypeSpecificationHandle(row)).DecodeSignature(names, null);
            foreach (var generic in (string[])["Resource`1<", "Informer`1<"])
            {
                if (type.StartsWith(generic, StringComparison.Ordinal)) Add(type[generic.Length..^1]);
            }
        }

        void Add(string argument)
        {
            if (!argument.Contains('!', StringComparison.Ordinal)) used.Add(argument);
        }
    }

    private static string OwnerOf(MetadataReader reader, EntityHandle method)
    {
        if (method.Kind == HandleKind.MethodDefinition)
            return reader.GetString(reader.GetTypeDefinition(reader.GetMethodDefinition((MethodDefinitionHandle)method).GetDeclaringType()).Name);
        var parent = reader.GetMemberReference((MemberReferenceHandle)method).Parent;
        return parent.Kind == HandleKind.TypeReference ? reader.GetString(reader.GetTypeReference((TypeReferenceHandle)parent).Name) : "";
    }

    /// <summary>Types as their short names.</summary>
    private sealed class TypeNames : ISignatureTypeProvider<string, object?>
    {
        public string GetArrayType(string elementType, ArrayShape shape) => elementType + "[]";

        public string GetByReferenceType(string elementType) => elementType;

        public string GetFunctionPointerType(MethodSignature<string> signature) => "pointer";

        public string GetGenericInstantiation(string genericType, ImmutableArray<string> typeArguments) => $"{genericType}<{string.Join(',', typeArguments)}>";

        public string GetGenericMethodParameter(object? genericContext, int index) => "!!" + index;

        public string GetGenericTypeParameter(object? genericContext, int index) => "!" + index;

        public string GetModifiedType(string modifier, string unmodifiedType, bool isRequired) => unmodifiedType;

        public string GetPinnedType(string elementType) => elementType;

        public string GetPointerType(string elementType) => elementType;

        public string GetPrimitiveType(PrimitiveTypeCode typeCode) => typeCode.ToString();

        public string GetSZArrayType(string elementType) => elementType + "[]";

        public string GetTypeFromDefinition(MetadataReader reader, TypeDefinitionHandle handle, byte rawTypeKind) => reader.GetString(reader.GetTypeDefinition(handle).Name);

        public string GetTypeFromReference(MetadataReader reader, TypeReferenceHandle handle, byte rawTypeKind) => reader.GetString(reader.GetTypeReference(handle).Name);

        public string GetTypeFromSpecification(MetadataReader reader, object? genericContext, TypeSpecificationHandle handle, byte rawTypeKind) =>
            reader.GetTypeSpecification(handle).DecodeSignature(this, genericContext);
    }
}
