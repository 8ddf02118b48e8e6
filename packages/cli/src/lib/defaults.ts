/** Where things are unless the caller says otherwise. */

export const DEFAULT_FOLDER = "/var/lib/thinpool";
export const DEFAULT_SOCKET = "/run/thinpool/thinpool.sock";
