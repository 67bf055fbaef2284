using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>A RoleBinding or ClusterRoleBinding in the form that decisions need. Immutable.</summary>
internal sealed class Binding
{
    private readonly Subject[] _subjects;
    private readonly string _namespace;
    private readonly string _name;

    private Binding(RoleRef role, Subject[] subjects, string ns, string name)
    {
        Role = role;
        _subjects = subjects;
        _namespace = ns;
        _name = name;
    }

    internal RoleRef Role { get; }

    /// <summary>The namespace is "" for a ClusterRoleBinding.</summary>
    internal static Binding Read(ApiNode binding, string ns, string name)
    {
        var subjects = new List<Subject>();
        foreach (var subject in binding["subjects"u8].Elements)
        {
            var subjectNamespace = subject["namespace"u8].AsString();
            subjects.Add(new Subject(subject["kind"u8].AsString(), subjectNamespace.Length == 0 ? ns : subjectNamespace, subject["name"u8].AsString()));
        }
        var role = binding["roleRef"u8];
        return new Binding(new RoleRef(role["kind"u8].Equals("ClusterRole"u8), role["name"u8].AsString()), [.. subjects], ns, name);
    }

    /// <summary>The first subject that the user is.</summary>
    internal Subject? Find(UserInfo user)
    {
        foreach (var subject in _subjects)
        {
            if (subject.Matches(user))
                return subject;
        }
        return null;
    }

    /// <summary>Why it allows, as reviews and the audit log say it.</summary>
    internal string Describe(Subject subject)
    {
        var kind = _namespace.Length == 0 ? "ClusterRoleBinding" : "RoleBinding";
        var name = _namespace.Length == 0 ? _name : $"{_name}/{_namespace}";
        var who = subject.Kind == "ServiceAccount" ? $"{subject.Name}/{subject.Namespace}" : subject.Name;
        return $"RBAC: allowed by {kind} {GoText.Quote(name)} of {(Role.IsClusterRole ? "ClusterRole" : "Role")} {GoText.Quote(Role.Name)} to {subject.Kind} {GoText.Quote(who)}";
    }
}
