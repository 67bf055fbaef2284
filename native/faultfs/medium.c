#define _GNU_SOURCE
#include "medium.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct inode *all, *root;
uint64_t used_bytes;
static uint64_t next_id = FUSE_ROOT_ID, order_now = 1, random_state = 88172645463325252ull;

void die(const char *what) { fprintf(stderr, "faultfs: %s: %s\n", what, strerror(errno)); exit(1); }
void *must(void *memory) { if (!memory) die("memory"); return memory; }

static uint64_t next_random(void) {
  random_state ^= random_state << 13; random_state ^= random_state >> 7; random_state ^= random_state << 17;
  return random_state;
}

static void seed(uint64_t value) { random_state = value * 0x9e3779b97f4a7c15ull + 88172645463325252ull; if (!random_state) random_state = 1; for (int i = 0; i < 4; i++) next_random(); }

/* ---- inodes ---- */

struct inode *new_inode(uint32_t mode, uint32_t uid, uint32_t gid) {
  struct inode *inode = must(calloc(1, sizeof *inode));
  inode->id = next_id++; inode->mode = mode; inode->uid = uid; inode->gid = gid;
  clock_gettime(CLOCK_REALTIME, &inode->mtime);
  inode->all_next = all; all = inode;
  return inode;
}

/* The kernel's node id is the inode's address, but for the root. Inodes live until the next mount. */
struct inode *inode_of(uint64_t node) { return node == FUSE_ROOT_ID ? root : (struct inode *)(uintptr_t)node; }
uint64_t node_of(struct inode *inode) { return inode == root ? FUSE_ROOT_ID : (uint64_t)(uintptr_t)inode; }

struct entry **find(struct entry **list, const char *name) {
  while (*list && strcmp((*list)->name, name)) list = &(*list)->next;
  return list;
}

static void put(struct entry **list, const char *name, struct inode *inode) {
  struct entry **place = find(list, name);
  if (*place && inode) { (*place)->inode = inode; return; }
  if (*place) { struct entry *gone = *place; *place = gone->next; free(gone->name); free(gone); return; }
  if (!inode) return;
  *place = must(calloc(1, sizeof **place));
  (*place)->name = must(strdup(name)); (*place)->inode = inode;
}

static void apply_change(struct entry **list, const struct entry_change *change) {
  put(list, change->name, change->inode);
  if (change->old_name) put(list, change->old_name, NULL);
}

/* old_name: what the inode was called before, when it is moved within the directory. */
void change_entry(struct inode *directory, const char *name, struct inode *inode, const char *old_name) {
  struct entry **old = find(&directory->entries, name);
  if (*old) (*old)->inode->links--;
  if (inode) inode->links++;
  put(&directory->entries, name, inode);
  struct entry_change *change = must(calloc(1, sizeof *change)), **end = &directory->changes;
  change->order = order_now++; change->name = must(strdup(name)); change->inode = inode;
  if (old_name) { change->old_name = must(strdup(old_name)); put(&directory->entries, old_name, NULL); inode->links--; }
  while (*end) end = &(*end)->next;
  *end = change;
  clock_gettime(CLOCK_REALTIME, &directory->mtime);
}

static void reserve(unsigned char **bytes, uint64_t *capacity, uint64_t size) {
  if (size <= *capacity) return;
  uint64_t grown = *capacity ? *capacity : 4096;
  while (grown < size) grown *= 2;
  *bytes = must(realloc(*bytes, grown));
  memset(*bytes + *capacity, 0, grown - *capacity);
  *capacity = grown;
}

static void grow(struct inode *inode, uint64_t size) {
  uint64_t before = inode->capacity;
  reserve(&inode->bytes, &inode->capacity, size);
  if (inode->capacity == before) return;
  inode->sectors = must(realloc(inode->sectors, inode->capacity / SECTOR * sizeof(struct sector)));
  memset(inode->sectors + before / SECTOR, 0, (inode->capacity - before) / SECTOR * sizeof(struct sector));
}

void set_size(struct inode *inode, uint64_t size) {
  if (size == inode->size) return;
  used_bytes += size - inode->size;
  inode->size = size;
  inode->sizes = must(realloc(inode->sizes, (inode->size_count + 1) * sizeof *inode->sizes));
  inode->sizes[inode->size_count++] = (struct size_change){ order_now++, size };
  if (inode->size_count > 4096) { memmove(inode->sizes + 1, inode->sizes + 2, (inode->size_count - 2) * sizeof *inode->sizes); inode->size_count--; }
}

static void note_sector(struct inode *inode, uint64_t index) {
  struct sector *sector = &inode->sectors[index];
  struct version *version = must(malloc(sizeof *version)), **end = &sector->oldest;
  version->next = NULL; version->order = order_now++;
  memcpy(version->bytes, inode->bytes + index * SECTOR, SECTOR);
  while (*end) end = &(*end)->next;
  *end = version;
  if (++sector->count > MAX_VERSIONS) {
    struct version *gone = sector->oldest->next;
    sector->oldest->next = gone->next; free(gone); sector->count--;
  }
}

void write_bytes(struct inode *inode, uint64_t offset, const void *bytes, uint64_t length) {
  if (!length) return;
  grow(inode, offset + length);
  if (bytes) memcpy(inode->bytes + offset, bytes, length); else memset(inode->bytes + offset, 0, length);
  for (uint64_t index = offset / SECTOR; index <= (offset + length - 1) / SECTOR; index++) note_sector(inode, index);
}

void truncate_to(struct inode *inode, uint64_t size) {
  if (size < inode->size) {
    uint64_t end = inode->size;
    set_size(inode, size);
    write_bytes(inode, size, NULL, end - size);
  } else {
    grow(inode, size);
    set_size(inode, size);
  }
}

void forget_versions(struct inode *inode) {
  for (uint64_t index = 0; index < inode->capacity / SECTOR; index++) {
    struct version *version = inode->sectors[index].oldest;
    while (version) { struct version *next = version->next; free(version); version = next; }
    inode->sectors[index] = (struct sector){ 0 };
  }
  inode->size_count = 0;
}

void forget_changes(struct inode *directory) {
  while (directory->changes) {
    struct entry_change *gone = directory->changes;
    directory->changes = gone->next; free(gone->name); free(gone->old_name); free(gone);
  }
}

/* Everything written is on the medium. */
void flush_file(struct inode *inode) {
  reserve(&inode->safe, &inode->safe_capacity, inode->capacity);
  for (uint64_t index = 0; index < inode->capacity / SECTOR; index++)
    if (inode->sectors[index].oldest) memcpy(inode->safe + index * SECTOR, inode->bytes + index * SECTOR, SECTOR);
  inode->safe_size = inode->size;
  forget_versions(inode);
}

void flush_directory(struct inode *directory) {
  for (struct entry_change *change = directory->changes; change; change = change->next) apply_change(&directory->safe_entries, change);
  forget_changes(directory);
}

/* ---- the power cut ---- */

static struct { uint64_t percent, until; } survival;

/* How many of n unflushed versions, oldest first, the medium took: 0 = none of them. */
static int choose(const uint64_t *orders, int n) {
  if (survival.until) {
    int kept = 0;
    while (kept < n && orders[kept] < survival.until) kept++;
    return kept;
  }
  if (next_random() % 100 >= survival.percent) return 0;
  return next_random() % 2 ? n : 1 + (int)(next_random() % n);
}

static void cut_file(struct inode *inode, unsigned long *dirty, unsigned long *kept) {
  uint64_t orders[4097];
  reserve(&inode->safe, &inode->safe_capacity, inode->capacity);
  for (uint64_t index = 0; index < inode->capacity / SECTOR; index++) {
    int n = 0;
    for (struct version *version = inode->sectors[index].oldest; version; version = version->next) orders[n++] = version->order;
    if (!n) continue;
    (*dirty)++;
    int pick = choose(orders, n);
    struct version *version = inode->sectors[index].oldest;
    for (int i = 1; i < pick; i++) version = version->next;
    if (pick) { memcpy(inode->safe + index * SECTOR, version->bytes, SECTOR); (*kept)++; }
  }
  for (int i = 0; i < inode->size_count; i++) orders[i] = inode->sizes[i].order;
  int pick = inode->size_count ? choose(orders, inode->size_count) : 0;
  if (pick) inode->safe_size = inode->sizes[pick - 1].size;
  /* What lies beyond the end reads as zeros when the file grows again. */
  reserve(&inode->safe, &inode->safe_capacity, inode->safe_size);
  memset(inode->safe + inode->safe_size, 0, inode->safe_capacity - inode->safe_size);
}

void cut(uint64_t value) {
  unsigned long dirty = 0, kept = 0;
  seed(value);
  survival.until = 0;
  switch (next_random() % 8) {
    case 0: survival.percent = 0; break;
    case 1: survival.percent = 100; break;
    case 2: case 3: {
      /* In the order of the calls, up to a point within the last few hundred of them. */
      uint64_t back = next_random() % (next_random() % 2 ? 32 : 2048);
      survival.until = order_now > back ? order_now - back : 1;
      break;
    }
    case 4: survival.percent = 5; break;
    case 5: survival.percent = 95; break;
    default: survival.percent = 50; break;
  }
  for (struct inode *inode = all; inode; inode = inode->all_next) {
    cut_file(inode, &dirty, &kept);
    for (struct entry_change *change = inode->changes; change; change = change->next)
      if (choose(&change->order, 1)) apply_change(&inode->safe_entries, change);
    forget_changes(inode);
  }
  printf("! cut dirty=%lu kept=%lu percent=%d ordered=%d\n", dirty, kept, (int)survival.percent, survival.until != 0);
}

/* What programs see becomes what the medium holds. */
void restore(void) {
  used_bytes = 0;
  for (struct inode *inode = all; inode; inode = inode->all_next) {
    forget_versions(inode);
    forget_changes(inode);
    grow(inode, inode->safe_capacity);
    memset(inode->bytes, 0, inode->capacity);
    if (inode->safe_size) memcpy(inode->bytes, inode->safe, inode->safe_size);
    inode->size = inode->safe_size; inode->lookups = 0; inode->links = 0;
    used_bytes += inode->size;
    while (inode->entries) put(&inode->entries, inode->entries->name, NULL);
    for (struct entry *entry = inode->safe_entries; entry; entry = entry->next) put(&inode->entries, entry->name, entry->inode);
  }
  for (struct inode *inode = all; inode; inode = inode->all_next)
    for (struct entry *entry = inode->entries; entry; entry = entry->next) entry->inode->links++;
}

static void free_all(void) {
  while (all) {
    struct inode *inode = all;
    all = inode->all_next;
    forget_versions(inode); forget_changes(inode);
    while (inode->entries) put(&inode->entries, inode->entries->name, NULL);
    while (inode->safe_entries) put(&inode->safe_entries, inode->safe_entries->name, NULL);
    free(inode->bytes); free(inode->safe); free(inode->sectors); free(inode->sizes); free(inode);
  }
}

void make_empty(void) {
  free_all();
  next_id = FUSE_ROOT_ID; used_bytes = 0;
  root = new_inode(S_IFDIR | 0755, 0, 0);
}
