namespace K3sFast.Configuration;

/// <summary>A wrong flag, config file or value: the message is for the user, is printed as one fatal line, and ends the process with exit code 1.</summary>
internal sealed class ConfigurationException(string message, Exception? inner = null) : Exception(message, inner);
