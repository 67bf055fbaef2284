using System.Buffers;
using System.Collections.Concurrent;
using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Resources that are questions: access reviews, token review, who am I; and the old forms bindings and componentstatuses.</summary>
internal sealed class ReviewHandlers(
    ResourceCatalog catalog, WriteFlow writes, PodBinding bindings, Authorizer authorizer, ITokenAuthenticator tokens, IReadOnlyList<string> apiAudiences, TimeProvider clock, int maxBodyBytes)
{
    private readonly AccessReviews _access = new(authorizer);
    private readonly TokenReviews _tokens = new(tokens, apiAudiences);
    private readonly ConcurrentDictionary<TypeSchema, FieldManager> _fields = new();

    /// <summary>Set by the wiring.</summary>
    internal ComponentStatuses? ComponentStatuses { get; set; }

    internal ValueTask RouteAsync(ApiCall call, ResourceEndpoint endpoint)
    {
        var resource = endpoint.Info.Resource;
        if (resource == "componentstatuses" && call.Info.Verb is Verb.List or Verb.Get)
            return ComponentStatuses!.AnswerAsync(call, endpoint);
        if (call.Info.Verb != Verb.Create || !call.Info.Name.IsEmpty)
            throw ResourceRouter.MethodNotAllowed();
        if (resource == "bindings")
            return bindings.BindAsync(call, PodsEndpoint(), endpoint.Info, "");
        return AnswerAsync(call, endpoint);
    }

    private ResourceEndpoint PodsEndpoint() => catalog.Endpoints.First(static e => e.Info is { Group: "", Resource: "pods" });

    private async ValueTask AnswerAsync(ApiCall call, ResourceEndpoint endpoint)
    {
        var format = ResponseFormat.Negotiate(call, allowsProjection: false);
        using var body = await call.ReadBodyAsync(maxBodyBytes).ConfigureAwait(false);
        var options = WriteOptions.Read(call, "CreateOptions");
        using var review = BodyDecoder.Decode(call, body.Span, endpoint.Info.Type, options.Validation);
        var root = review.Root;
        root.GetOrAddObject("metadata"u8);
        // A question is owned like any other object. What is asked about oneself comes back as it went in.
        if (endpoint.Info.Resource is not ("selfsubjectrulesreviews" or "selfsubjectreviews"))
            FieldsOf(endpoint.Info.Type).Update(default, root, options.Manager, clock.GetUtcNow());
        call.Audit?.SetRequestObject(root);
        var admitted = AdmissionContext.OfCreate(call, endpoint.Info, "", ObjectText.NameOf(root), endpoint.Info.Type, root, options.IsDryRun);
        await writes.MutateAsync(admitted, call.Aborted).ConfigureAwait(false);
        Func<ValueTask> admit = () => writes.ValidateAsync(admitted, call.Aborted);
        switch (endpoint.Info.Resource)
        {
            case "selfsubjectaccessreviews": await _access.ReviewSelfAsync(call, root, admit).ConfigureAwait(false); break;
            case "subjectaccessreviews": await _access.ReviewAsync(call, root, admit).ConfigureAwait(false); break;
            case "localsubjectaccessreviews": await _access.ReviewLocalAsync(call, root, admit).ConfigureAwait(false); break;
            case "selfsubjectrulesreviews": await RulesReviews.ReviewAsync(call, root, authorizer, admit).ConfigureAwait(false); break;
            case "selfsubjectreviews": await ReviewSelfAsync(call, root, admit).ConfigureAwait(false); break;
            case "tokenreviews": await _tokens.ReviewAsync(call, root, admit).ConfigureAwait(false); break;
            default: throw ResourceRouter.MethodNotAllowed();
        }
        var output = new ArrayBufferWriter<byte>(1024);
        JsonCodec.Encode(root, endpoint.Info.Type, output);
        await ResponseWriter.WriteObjectAsync(call, 201, output.WrittenMemory, endpoint.Info.Type, format).ConfigureAwait(false);
    }

    private FieldManager FieldsOf(TypeSchema type) => _fields.GetOrAdd(type, static t => new FieldManager(t, "", ResetFields.None, new SingleVersion(t)));

    // Who am I: nothing of the question comes back.
    private async ValueTask ReviewSelfAsync(ApiCall call, ApiNode review, Func<ValueTask> admit)
    {
        await admit().ConfigureAwait(false);
        var metadata = review["metadata"u8];
        metadata.Clear();
        metadata.Set("creationTimestamp"u8, ObjectText.Time(clock.GetUtcNow()));
        var status = review.GetOrAddObject("status"u8);
        status.Clear();
        UserText.Write(status.GetOrAddObject("userInfo"u8), call.User);
    }
}
