/*
 * The managed provider binds every entry point it knows. These are of editions of SQLite that Debian does not build: encryption,
 * snapshots, Windows. Nobody calls them; they only give the linker something to bind, and refuse.
 */
#include <sqlite3.h>

#define REFUSED { return SQLITE_MISUSE; }
#define UNUSED __attribute__((unused))

int sqlite3_key(sqlite3 *db UNUSED, const void *key UNUSED, int length UNUSED) REFUSED
int sqlite3_key_v2(sqlite3 *db UNUSED, const char *name UNUSED, const void *key UNUSED, int length UNUSED) REFUSED
int sqlite3_rekey(sqlite3 *db UNUSED, const void *key UNUSED, int length UNUSED) REFUSED
int sqlite3_rekey_v2(sqlite3 *db UNUSED, const char *name UNUSED, const void *key UNUSED, int length UNUSED) REFUSED
int sqlite3_win32_set_directory(unsigned long type UNUSED, void *value UNUSED) REFUSED

int sqlite3_snapshot_get(sqlite3 *db UNUSED, const char *schema UNUSED, sqlite3_snapshot **snapshot UNUSED) REFUSED
int sqlite3_snapshot_open(sqlite3 *db UNUSED, const char *schema UNUSED, sqlite3_snapshot *snapshot UNUSED) REFUSED
int sqlite3_snapshot_cmp(sqlite3_snapshot *a UNUSED, sqlite3_snapshot *b UNUSED) REFUSED
int sqlite3_snapshot_recover(sqlite3 *db UNUSED, const char *schema UNUSED) REFUSED
void sqlite3_snapshot_free(sqlite3_snapshot *snapshot UNUSED) {}

