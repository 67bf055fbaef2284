/*
 * faultfs: a file system in memory, over the kernel's FUSE protocol (linux/fuse.h), that forgets at a power cut what was not flushed.
 *
 *   faultfs MOUNTPOINT      commands on stdin, one answer line each on stdout; lines that begin with "!" tell of events.
 *
 * Every file has two images: what programs see, and what the medium holds. A write makes new versions of the 512-byte sectors that
 * it touches; fsync moves the newest versions to the medium. A power cut keeps, for each sector, the medium's image or any version
 * written since its last flush, each sector for itself: so writes may be lost, reordered and torn. Sizes and directory entries
 * likewise: an entry (create, link, rename, unlink) is safe only after its directory was flushed, as POSIX has it.
 *
 *   cut SEED                the power goes now: every request fails from here on
 *   cutat KIND N SEED       ... right before the N-th next operation of KIND (write, sync, meta or any)
 *   remount                 the power is back: unmounts, and mounts what the medium holds
 *   fail KIND ERRNO N COUNT the N-th to (N+COUNT-1)-th next operations of KIND fail; a failed sync forgets what it should have flushed:
 *                           the next one succeeds and flushes nothing of it, as Linux does
 *   stall MS COUNT          the next COUNT syncs take MS milliseconds, or until calm
 *   capacity BYTES          no more than that fits (0 = no limit)
 *   calm                    takes fail, cutat, stall and capacity back
 *   reset                   an empty file system, mounted anew
 *   stats                   writes, syncs, bytes, and unflushed sectors
 */
#define _GNU_SOURCE
#include "medium.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_WRITE (128 * 1024)

/* An open file. Each learns once of every failed flush of its file, its own or another's. */
struct handle { uint64_t seen_failures; };

struct reply_later { uint64_t unique, due_ms; struct inode *inode; int error; };
struct trigger { int kind, error; long at, count; };

enum { KIND_WRITE = 1, KIND_SYNC = 2, KIND_META = 4, KIND_ANY = 7 };

static uint64_t capacity_bytes;
static unsigned long stat_writes, stat_syncs, stat_bytes;
static int fuse_fd = -1, is_cut;
static const char *mountpoint;
static struct trigger failing, cutting;
static uint64_t cut_seed, stall_ms;
static long stall_count;
static struct reply_later later[256];
static int later_count;

static uint64_t now_ms(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return (uint64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000; }

static void mount_anew(void) {
  char options[128];
  later_count = 0;
  if (fuse_fd >= 0) {
    if (umount2(mountpoint, MNT_DETACH) && errno != EINVAL) die("umount");
    close(fuse_fd);
  }
  is_cut = 0;
  fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (fuse_fd < 0) die("/dev/fuse");
  snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", fuse_fd);
  if (mount("faultfs", mountpoint, "fuse.faultfs", MS_NOSUID | MS_NODEV, options)) die("mount");
}

static void cut_power(uint64_t seed) { is_cut = 1; cut(seed); }

static void calm(void) { memset(&failing, 0, sizeof failing); memset(&cutting, 0, sizeof cutting); stall_count = 0; capacity_bytes = 0; for (int i = 0; i < later_count; i++) later[i].due_ms = 0; }

/* ---- answers to the kernel ---- */

static void answer(uint64_t unique, int error, const void *body, size_t length) {
  struct fuse_out_header header = { .len = sizeof header + (error ? 0 : length), .error = -error, .unique = unique };
  struct iovec parts[2] = { { &header, sizeof header }, { (void *)body, length } };
  /* ENOENT: the caller was killed meanwhile. ENODEV: unmounted. */
  if (writev(fuse_fd, parts, error || !length ? 1 : 2) < 0 && errno != ENOENT && errno != ENODEV && errno != EINVAL) die("answer");
}

static void fill_attr(struct inode *inode, struct fuse_attr *attr) {
  memset(attr, 0, sizeof *attr);
  attr->ino = inode->id; attr->size = inode->size; attr->blocks = (inode->size + 511) / 512; attr->mode = inode->mode;
  attr->nlink = S_ISDIR(inode->mode) ? 2 : inode->links; attr->uid = inode->uid; attr->gid = inode->gid; attr->rdev = inode->rdev; attr->blksize = 4096;
  attr->atime = attr->mtime = attr->ctime = inode->mtime.tv_sec;
  attr->atimensec = attr->mtimensec = attr->ctimensec = inode->mtime.tv_nsec;
}

static void fill_entry(struct inode *inode, struct fuse_entry_out *out) {
  memset(out, 0, sizeof *out);
  out->nodeid = node_of(inode); out->entry_valid = out->attr_valid = 1;
  fill_attr(inode, &out->attr);
  inode->lookups++;
}

static void answer_entry(uint64_t unique, struct inode *inode) {
  struct fuse_entry_out out;
  fill_entry(inode, &out);
  answer(unique, 0, &out, sizeof out);
}

static void answer_attr(uint64_t unique, struct inode *inode) {
  struct fuse_attr_out out = { .attr_valid = 1 };
  fill_attr(inode, &out.attr);
  answer(unique, 0, &out, sizeof out);
}

/* True = the trigger is due at this operation. */
static int is_due(struct trigger *trigger, int kind) {
  if (!(trigger->kind & kind)) return 0;
  if (--trigger->at > 0) return 0;
  if (--trigger->count <= 0) trigger->kind = 0;
  return 1;
}

static uint64_t open_handle(struct inode *inode) {
  struct handle *handle = must(malloc(sizeof *handle));
  handle->seen_failures = inode->failures;
  return (uint64_t)(uintptr_t)handle;
}

/* The faults that are set, at one operation; 0 = go on. */
static int fault(int kind) {
  if (is_cut) return EIO;
  if (is_due(&cutting, kind)) { cut_power(cut_seed); return EIO; }
  if (is_due(&failing, kind)) { printf("! failed kind=%d errno=%d\n", kind, failing.error); return failing.error; }
  return 0;
}

static void read_directory(uint64_t unique, struct inode *directory, const struct fuse_read_in *in) {
  static char buffer[MAX_WRITE];
  size_t used = 0;
  uint64_t index = 0;
  for (struct entry *entry = directory->entries; entry; entry = entry->next) {
    if (++index <= in->offset) continue;
    struct fuse_dirent head = { .ino = entry->inode->id, .off = index, .namelen = strlen(entry->name), .type = entry->inode->mode >> 12 };
    size_t length = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + head.namelen);
    if (used + length > in->size || used + length > sizeof buffer) break;
    memset(buffer + used, 0, length);
    memcpy(buffer + used, &head, FUSE_NAME_OFFSET);
    memcpy(buffer + used + FUSE_NAME_OFFSET, entry->name, head.namelen);
    used += length;
  }
  answer(unique, 0, buffer, used);
}

static void sync_inode(uint64_t unique, struct inode *inode, struct handle *handle, int is_directory) {
  stat_syncs++;
  int error = fault(KIND_SYNC);
  if (error && !is_cut) {
    /* What was to be flushed counts as clean now and never reaches the medium, unless it is written again. */
    if (is_directory) forget_changes(inode); else forget_versions(inode);
    inode->failures++;
  }
  if (!is_cut && handle->seen_failures < inode->failures) {
    /* Another's flush failed since this one looked. What is dirty now is flushed all the same. */
    if (!error) { if (is_directory) flush_directory(inode); else flush_file(inode); }
    handle->seen_failures = inode->failures;
    error = EIO;
  }
  if (stall_count > 0 && !error && later_count < 256) {
    stall_count--;
    printf("! stalled\n");
    later[later_count++] = (struct reply_later){ unique, now_ms() + stall_ms, inode, 0 };
    return;
  }
  if (!error) { if (is_directory) flush_directory(inode); else flush_file(inode); }
  answer(unique, error, NULL, 0);
}

static void answer_late(void) {
  for (int i = 0; i < later_count;) {
    if (!is_cut && later[i].due_ms > now_ms()) { i++; continue; }
    struct reply_later due = later[i];
    later[i] = later[--later_count];
    if (!is_cut) { if (S_ISDIR(due.inode->mode)) flush_directory(due.inode); else flush_file(due.inode); }
    answer(due.unique, is_cut ? EIO : 0, NULL, 0);
  }
}

static void rename_entry(uint64_t unique, struct inode *from, struct inode *to, const char *name, uint32_t flags) {
  const char *target = name + strlen(name) + 1;
  struct entry *entry = *find(&from->entries, name), *old = *find(&to->entries, target);
  if (!entry) { answer(unique, ENOENT, NULL, 0); return; }
  if (flags & ~1u) { answer(unique, EINVAL, NULL, 0); return; }
  if (old && (flags & 1)) { answer(unique, EEXIST, NULL, 0); return; }
  if (old && S_ISDIR(old->inode->mode) && old->inode->entries) { answer(unique, ENOTEMPTY, NULL, 0); return; }
  struct inode *moved = entry->inode;
  if (strcmp(name, target) || from != to) {
    change_entry(to, target, moved, from == to ? name : NULL);
    if (from != to) change_entry(from, name, NULL, NULL);
  }
  answer(unique, 0, NULL, 0);
}

static void unlink_entry(uint64_t unique, struct inode *directory, const char *name) {
  struct entry *entry = *find(&directory->entries, name);
  int error = !entry ? ENOENT : S_ISDIR(entry->inode->mode) && entry->inode->entries ? ENOTEMPTY : 0;
  if (!error) {
    struct inode *gone = entry->inode;
    change_entry(directory, name, NULL, NULL);
    if (!gone->links) used_bytes -= gone->size < used_bytes ? gone->size : used_bytes;
  }
  answer(unique, error, NULL, 0);
}

static void set_attr(uint64_t unique, struct inode *inode, const struct fuse_setattr_in *in) {
  if (in->valid & FATTR_SIZE) {
    if (capacity_bytes && in->size > inode->size && used_bytes + in->size - inode->size > capacity_bytes) { answer(unique, ENOSPC, NULL, 0); return; }
    truncate_to(inode, in->size);
  }
  if (in->valid & FATTR_MODE) inode->mode = (inode->mode & S_IFMT) | (in->mode & 07777);
  if (in->valid & FATTR_UID) inode->uid = in->uid;
  if (in->valid & FATTR_GID) inode->gid = in->gid;
  if (in->valid & FATTR_MTIME_NOW || in->valid & FATTR_SIZE) clock_gettime(CLOCK_REALTIME, &inode->mtime);
  else if (in->valid & FATTR_MTIME) inode->mtime = (struct timespec){ in->mtime, in->mtimensec };
  answer_attr(unique, inode);
}

static void write_file(uint64_t unique, struct inode *inode, const struct fuse_write_in *in) {
  stat_writes++; stat_bytes += in->size;
  int error = fault(KIND_WRITE);
  uint64_t end = in->offset + in->size;
  if (!error && capacity_bytes && end > inode->size && used_bytes + end - inode->size > capacity_bytes) error = ENOSPC;
  if (error) { answer(unique, error, NULL, 0); return; }
  write_bytes(inode, in->offset, in + 1, in->size);
  if (end > inode->size) set_size(inode, end);
  clock_gettime(CLOCK_REALTIME, &inode->mtime);
  struct fuse_write_out out = { .size = in->size };
  answer(unique, 0, &out, sizeof out);
}

static void create(uint64_t unique, struct inode *directory, const char *name, uint32_t mode, uint32_t rdev, const struct fuse_in_header *header, int opens, const char *link) {
  if (*find(&directory->entries, name)) { answer(unique, EEXIST, NULL, 0); return; }
  struct inode *inode = new_inode(mode, header->uid, header->gid);
  inode->rdev = rdev;
  if (link) {
    /* A link's target is part of the inode that its entry brings to the medium. */
    write_bytes(inode, 0, link, strlen(link)); set_size(inode, strlen(link)); flush_file(inode);
  }
  change_entry(directory, name, inode, NULL);
  struct { struct fuse_entry_out entry; struct fuse_open_out open; } out;
  memset(&out, 0, sizeof out);
  fill_entry(inode, &out.entry);
  if (opens) out.open.fh = open_handle(inode);
  answer(unique, 0, &out, opens ? sizeof out : sizeof out.entry);
}

static void initialize(uint64_t unique, const struct fuse_init_in *in) {
  struct fuse_init_out out = { .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .max_readahead = in->max_readahead, .max_background = 16,
    .congestion_threshold = 12, .max_write = MAX_WRITE, .time_gran = 1 };
  out.flags = in->flags & (FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_ATOMIC_O_TRUNC * 0 | FUSE_ASYNC_READ | FUSE_PARALLEL_DIROPS);
  out.max_pages = MAX_WRITE / 4096;
  answer(unique, 0, &out, sizeof out);
}

static void handle(char *buffer) {
  struct fuse_in_header *header = (struct fuse_in_header *)buffer;
  void *body = buffer + sizeof *header;
  uint64_t unique = header->unique;
  struct inode *inode = inode_of(header->nodeid);
  switch (header->opcode) {
    case FUSE_INIT: initialize(unique, body); return;
    case FUSE_FORGET: case FUSE_BATCH_FORGET: case FUSE_INTERRUPT: return;
    case FUSE_DESTROY: answer(unique, 0, NULL, 0); return;
  }
  if (is_cut) { answer(unique, EIO, NULL, 0); return; }
  switch (header->opcode) {
    case FUSE_MKDIR: case FUSE_MKNOD: case FUSE_CREATE: case FUSE_SYMLINK: case FUSE_LINK: case FUSE_UNLINK: case FUSE_RMDIR: case FUSE_RENAME: case FUSE_RENAME2: {
      int error = fault(KIND_META);
      if (error) { answer(unique, error, NULL, 0); return; }
    }
  }
  switch (header->opcode) {
    case FUSE_LOOKUP: {
      struct entry *entry = *find(&inode->entries, body);
      if (entry) answer_entry(unique, entry->inode); else answer(unique, ENOENT, NULL, 0);
      return;
    }
    case FUSE_GETATTR: answer_attr(unique, inode); return;
    case FUSE_SETATTR: set_attr(unique, inode, body); return;
    case FUSE_MKDIR: {
      struct fuse_mkdir_in *in = body;
      create(unique, inode, (char *)(in + 1), S_IFDIR | (in->mode & 07777), 0, header, 0, NULL);
      return;
    }
    case FUSE_MKNOD: {
      struct fuse_mknod_in *in = body;
      create(unique, inode, (char *)(in + 1), in->mode, in->rdev, header, 0, NULL);
      return;
    }
    case FUSE_CREATE: {
      struct fuse_create_in *in = body;
      create(unique, inode, (char *)(in + 1), S_IFREG | (in->mode & 07777), 0, header, 1, NULL);
      return;
    }
    case FUSE_SYMLINK: create(unique, inode, body, S_IFLNK | 0777, 0, header, 0, (char *)body + strlen(body) + 1); return;
    case FUSE_READLINK: answer(unique, 0, inode->bytes, inode->size); return;
    case FUSE_LINK: {
      struct fuse_link_in *in = body;
      struct inode *old = inode_of(in->oldnodeid);
      if (*find(&inode->entries, (char *)(in + 1))) { answer(unique, EEXIST, NULL, 0); return; }
      change_entry(inode, (char *)(in + 1), old, NULL);
      answer_entry(unique, old);
      return;
    }
    case FUSE_UNLINK: case FUSE_RMDIR: unlink_entry(unique, inode, body); return;
    case FUSE_RENAME: {
      struct fuse_rename_in *in = body;
      rename_entry(unique, inode, inode_of(in->newdir), (char *)(in + 1), 0);
      return;
    }
    case FUSE_RENAME2: {
      struct fuse_rename2_in *in = body;
      rename_entry(unique, inode, inode_of(in->newdir), (char *)(in + 1), in->flags);
      return;
    }
    case FUSE_OPEN: case FUSE_OPENDIR: {
      struct fuse_open_out out = { .fh = open_handle(inode), .open_flags = header->opcode == FUSE_OPEN ? FOPEN_KEEP_CACHE : 0 };
      answer(unique, 0, &out, sizeof out);
      return;
    }
    case FUSE_READ: {
      struct fuse_read_in *in = body;
      uint64_t left = in->offset < inode->size ? inode->size - in->offset : 0;
      answer(unique, 0, inode->bytes + in->offset, in->size < left ? in->size : left);
      return;
    }
    case FUSE_READDIR: read_directory(unique, inode, body); return;
    case FUSE_WRITE: write_file(unique, inode, body); return;
    case FUSE_FSYNC: case FUSE_FSYNCDIR: {
      struct fuse_fsync_in *in = body;
      sync_inode(unique, inode, (struct handle *)(uintptr_t)in->fh, header->opcode == FUSE_FSYNCDIR);
      return;
    }
    case FUSE_RELEASE: case FUSE_RELEASEDIR: {
      struct fuse_release_in *in = body;
      free((struct handle *)(uintptr_t)in->fh);
      answer(unique, 0, NULL, 0);
      return;
    }
    case FUSE_FLUSH: answer(unique, 0, NULL, 0); return;
    case FUSE_STATFS: {
      struct fuse_statfs_out out = { .st = { .bsize = 4096, .frsize = 4096, .namelen = 255, .files = 1000000, .ffree = 900000 } };
      uint64_t total = capacity_bytes ? capacity_bytes : 64ull << 30;
      out.st.blocks = total / 4096;
      out.st.bfree = out.st.bavail = used_bytes < total ? (total - used_bytes) / 4096 : 0;
      answer(unique, 0, &out, sizeof out);
      return;
    }
    default: answer(unique, ENOSYS, NULL, 0); return;
  }
}

/* ---- commands ---- */

static int kind_of(const char *word) { return !strcmp(word, "write") ? KIND_WRITE : !strcmp(word, "sync") ? KIND_SYNC : !strcmp(word, "meta") ? KIND_META : KIND_ANY; }

static void print_stats(void) {
  unsigned long dirty = 0;
  for (struct inode *inode = all; inode; inode = inode->all_next)
    for (uint64_t index = 0; index < inode->capacity / SECTOR; index++) dirty += inode->sectors[index].oldest != NULL;
  printf("ok writes=%lu syncs=%lu bytes=%lu dirty=%lu used=%lu\n", stat_writes, stat_syncs, stat_bytes, dirty, (unsigned long)used_bytes);
}

static void command(char *line) {
  char kind[16];
  unsigned long a = 0, b = 0, c = 0;
  if (sscanf(line, "cutat %15s %lu %lu", kind, &a, &b) == 3) { cutting = (struct trigger){ kind_of(kind), 0, a, 1 }; cut_seed = b; }
  else if (sscanf(line, "cut %lu", &a) == 1) { if (!is_cut) cut_power(a); }
  else if (sscanf(line, "fail %15s %lu %lu %lu", kind, &a, &b, &c) == 4) failing = (struct trigger){ kind_of(kind), a, b, c };
  else if (sscanf(line, "stall %lu %lu", &a, &b) == 2) { stall_ms = a; stall_count = b; }
  else if (sscanf(line, "capacity %lu", &a) == 1) capacity_bytes = a;
  else if (!strncmp(line, "calm", 4)) calm();
  else if (!strncmp(line, "remount", 7)) { calm(); if (!is_cut) { printf("error not cut\n"); return; } restore(); mount_anew(); }
  else if (!strncmp(line, "reset", 5)) { calm(); mount_anew(); make_empty(); }
  else if (!strncmp(line, "stats", 5)) { print_stats(); return; }
  else { printf("error unknown command\n"); return; }
  printf("ok\n");
}

int main(int argc, char **argv) {
  static char request[MAX_WRITE + 8192], input[4096];
  size_t used = 0;
  if (argc != 2) { fprintf(stderr, "usage: faultfs MOUNTPOINT\n"); return 2; }
  mountpoint = argv[1];
  setvbuf(stdout, NULL, _IOLBF, 0);
  make_empty();
  mount_anew();
  printf("ok\n");
  while (1) {
    struct pollfd polled[2] = { { fuse_fd, POLLIN, 0 }, { 0, POLLIN, 0 } };
    if (poll(polled, 2, later_count ? 5 : -1) < 0 && errno != EINTR) die("poll");
    if (later_count) answer_late();
    if (polled[1].revents) {
      ssize_t length = read(0, input + used, sizeof input - used - 1);
      if (length <= 0) break;
      used += length; input[used] = 0;
      char *end;
      while ((end = strchr(input, '\n'))) {
        *end = 0;
        command(input);
        used -= end + 1 - input;
        memmove(input, end + 1, used + 1);
      }
      continue;
    }
    if (polled[0].revents) {
      ssize_t length = read(fuse_fd, request, sizeof request);
      if (length > 0) handle(request);
      else if (length < 0 && errno == ENODEV) { close(fuse_fd); fuse_fd = -1; mount_anew(); }
      else if (length < 0 && errno != EINTR && errno != EAGAIN && errno != ENOENT) die("read");
    }
  }
  is_cut = 1;
  answer_late();
  umount2(mountpoint, MNT_DETACH);
  return 0;
}
