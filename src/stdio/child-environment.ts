// What a server's process gets to see of our environment: little, for a gateway's own secrets are
// in there. Knows no processes.

/** As the SDK's stdio client does it, so that servers find what they are used to. */
const INHERITED_POSIX = ['HOME', 'LOGNAME', 'PATH', 'SHELL', 'TERM', 'USER'] as const;
const INHERITED_WINDOWS = [
  ...['APPDATA', 'HOMEDRIVE', 'HOMEPATH', 'LOCALAPPDATA', 'PATH', 'PROCESSOR_ARCHITECTURE'],
  ...['PROGRAMFILES', 'SYSTEMDRIVE', 'SYSTEMROOT', 'TEMP', 'USERNAME', 'USERPROFILE'],
] as const;

type Environment = Readonly<Record<string, string | undefined>>;

/** The harmless part of `ours`, then all of `given`, which wins. */
export function childEnvironment(
  given: Readonly<Record<string, string>> = {},
  ours: Environment = process.env,
  platform: NodeJS.Platform = process.platform,
): Record<string, string> {
  const names = platform === 'win32' ? INHERITED_WINDOWS : INHERITED_POSIX;
  const inherited: Record<string, string> = {};
  for (const name of names) {
    const value = ours[name];
    // Old shells hand functions on in variables: code that a server's shell would run.
    if (value !== undefined && !value.startsWith('()')) inherited[name] = value;
  }
  return { ...inherited, ...given };
}
