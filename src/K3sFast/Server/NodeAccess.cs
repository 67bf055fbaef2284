using System.Security.Cryptography.X509Certificates;
using K3sFast.Client;

namespace K3sFast.Server;

/// <summary>A node's identities before the API, each with no more rights than its part needs; the same parts in k3s have the same names.</summary>
/// <param name="Kubelet">system:node:&lt;name&gt;</param>
/// <param name="Proxy">system:kube-proxy: reads Services, their endpoints and nodes.</param>
/// <param name="Controller">system:k3s-controller: reads nodes, pods and policies, and notes on nodes how they are reached.</param>
/// <param name="ServingKubelet">What the kubelet's API shows; asked at each handshake.</param>
/// <param name="ClientAuthorities">Whose client certificates the kubelet believes.</param>
internal sealed record NodeAccess(ApiClient Kubelet, ApiClient Proxy, ApiClient Controller, Func<X509Certificate2> ServingKubelet, X509Certificate2Collection ClientAuthorities);
