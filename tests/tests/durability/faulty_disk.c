/* A disk that fails on orders, put between a program and the C library with LD_PRELOAD.
 *
 * FAULTY_FOLDER names the folder whose files are on it. FAULTY_ORDERS names a file with one order,
 * which is looked up at every call, so that it can be changed while the program runs:
 *
 *   room BYTES      all files together may take so much; what does not fit fails with ENOSPC
 *   fail            writes and syncs fail with EIO
 *   fail-sync       syncs fail with EIO
 *   read-only       whatever would change something fails with EROFS
 *   slow MILLIS     every sync takes so long
 *
 * Without an order, or with another word, all is well.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define REAL(result, name, ...)                                                                    \
    static result (*real)(__VA_ARGS__);                                                            \
    if (!real) real = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static int real_open(const char *path, int flags, mode_t mode) {
    REAL(int, "open64", const char *, int, ...);
    return real(path, flags, mode);
}

static ssize_t real_write(int fd, const void *octets, size_t len) {
    REAL(ssize_t, "write", int, const void *, size_t);
    return real(fd, octets, len);
}

static int is_ours(const char *path) {
    const char *folder = getenv("FAULTY_FOLDER");
    char full[PATH_MAX];
    if (!folder) return 0;
    if (path[0] != '/') {
        char here[PATH_MAX];
        if (!getcwd(here, sizeof here)) return 0;
        if (snprintf(full, sizeof full, "%s/%s", here, path) >= (int)sizeof full) return 0;
        path = full;
    }
    return strncmp(path, folder, strlen(folder)) == 0;
}

static int is_our_fd(int fd) {
    char name[64], path[PATH_MAX];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(name, path, sizeof path - 1);
    if (len <= 0) return 0;
    path[len] = 0;
    return is_ours(path);
}

/* Whether the order is this word; its number goes into `value`. */
static int ordered(const char *word, long *value) {
    const char *orders = getenv("FAULTY_ORDERS");
    char text[64] = "", found[32] = "";
    long number = 0;
    int fd = orders ? real_open(orders, O_RDONLY | O_CLOEXEC, 0) : -1;
    if (fd < 0) return 0;
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    if (len <= 0 || sscanf(text, "%31s %ld", found, &number) < 1) return 0;
    if (value) *value = number;
    return strcmp(found, word) == 0;
}

static int fail(int error) {
    errno = error;
    return -1;
}

static long used_in(const char *folder) {
    long used = 0;
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        char path[PATH_MAX];
        struct stat about;
        if (entry->d_name[0] == '.') continue;
        if (snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) >= (int)sizeof path) continue;
        if (lstat(path, &about)) continue;
        used += S_ISDIR(about.st_mode) ? used_in(path) : about.st_size;
    }
    if (dir) closedir(dir);
    return used;
}

static int opened(const char *path, int flags, mode_t mode) {
    int changes = (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC);
    if (changes && is_ours(path) && ordered("read-only", NULL)) return fail(EROFS);
    return real_open(path, flags, mode);
}

#define MODE(flags)                                                                                \
    mode_t mode = 0;                                                                               \
    if (flags & O_CREAT) {                                                                         \
        va_list more;                                                                              \
        va_start(more, flags);                                                                     \
        mode = va_arg(more, mode_t);                                                               \
        va_end(more);                                                                              \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    return opened(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags)
    return opened(path, flags | O_LARGEFILE, mode);
}

/* How much of a write at this place is done, as the order has it; below 0: it fails. */
static ssize_t granted(int fd, size_t len, off64_t at) {
    long room;
    if (ordered("read-only", NULL)) return fail(EROFS);
    if (ordered("fail", NULL)) return fail(EIO);
    if (ordered("room", &room)) {
        struct stat about;
        off64_t size = fstat(fd, &about) ? 0 : about.st_size;
        room -= used_in(getenv("FAULTY_FOLDER"));
        if (room < 0) room = 0;
        /* What takes the place of something needs none, and of the rest that is written what fits. */
        if (at < size) room += size - at;
        if (len && room <= 0) return fail(ENOSPC);
        if ((size_t)room < len) len = (size_t)room;
    }
    return (ssize_t)len;
}

ssize_t write(int fd, const void *octets, size_t len) {
    struct stat about;
    if (!is_our_fd(fd)) return real_write(fd, octets, len);
    /* All that is written so is appended. */
    ssize_t some = granted(fd, len, fstat(fd, &about) ? 0 : about.st_size);
    return some < 0 ? some : real_write(fd, octets, (size_t)some);
}

ssize_t pwrite64(int fd, const void *octets, size_t len, off64_t at) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    if (!is_our_fd(fd)) return real(fd, octets, len, at);
    ssize_t some = granted(fd, len, at);
    return some < 0 ? some : real(fd, octets, (size_t)some, at);
}

static int before_sync(int fd) {
    long millis;
    if (!is_our_fd(fd)) return 0;
    if (ordered("fail", NULL) || ordered("fail-sync", NULL)) return fail(EIO);
    if (ordered("slow", &millis)) {
        struct timespec pause = {millis / 1000, millis % 1000 * 1000000};
        nanosleep(&pause, NULL);
    }
    return 0;
}

int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    return before_sync(fd) ? -1 : real(fd);
}

int fsync(int fd) {
    REAL(int, "fsync", int);
    return before_sync(fd) ? -1 : real(fd);
}

int ftruncate64(int fd, off64_t len) {
    REAL(int, "ftruncate64", int, off64_t);
    if (is_our_fd(fd) && ordered("read-only", NULL)) return fail(EROFS);
    return real(fd, len);
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    if (is_ours(path) && ordered("read-only", NULL)) return fail(EROFS);
    return real(path);
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t);
    if (is_ours(path) && ordered("read-only", NULL)) return fail(EROFS);
    return real(path, mode);
}
