/* What faultfs remembers: every file as programs see it and as the medium holds it, and what a power cut leaves of the difference. One thread. */
#ifndef FAULTFS_MEDIUM_H
#define FAULTFS_MEDIUM_H

#include <stdint.h>
#include <time.h>

#define SECTOR 512
/* Versions kept of one sector between two flushes; older ones in between are forgotten. */
#define MAX_VERSIONS 6

struct version { struct version *next; uint64_t order; unsigned char bytes[SECTOR]; };
struct sector { struct version *oldest; int count; };
struct size_change { uint64_t order, size; };

struct entry { struct entry *next; char *name; struct inode *inode; };

/* One unflushed change of a directory: name now means inode, or nothing. A rename within the directory is one change, which is never torn. */
struct entry_change { struct entry_change *next; uint64_t order; char *name, *old_name; struct inode *inode; };

struct inode {
  uint64_t id, lookups;
  uint32_t mode, uid, gid, links, rdev;
  uint64_t size, capacity, safe_size, safe_capacity, failures;
  unsigned char *bytes, *safe;
  struct sector *sectors;
  struct size_change *sizes;
  int size_count;
  struct timespec mtime;
  struct entry *entries, *safe_entries;
  struct entry_change *changes;
  struct inode *all_next;
};

/* All inodes there are, the root of the tree, and the bytes that its files have. */
extern struct inode *all, *root;
extern uint64_t used_bytes;

void die(const char *what);
struct inode *new_inode(uint32_t mode, uint32_t uid, uint32_t gid);
struct entry **find(struct entry **list, const char *name);
void change_entry(struct inode *directory, const char *name, struct inode *inode, const char *old_name);
void set_size(struct inode *inode, uint64_t size);
void write_bytes(struct inode *inode, uint64_t offset, const void *bytes, uint64_t length);
void truncate_to(struct inode *inode, uint64_t size);
void forget_versions(struct inode *inode);
void forget_changes(struct inode *directory);
void flush_file(struct inode *inode);
void flush_directory(struct inode *directory);
void cut(uint64_t value);
void restore(void);
void make_empty(void);
struct inode *inode_of(uint64_t node);
uint64_t node_of(struct inode *inode);
void *must(void *memory);

#endif
