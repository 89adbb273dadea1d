/* Writes down, in order, what a process asks of the files in one folder: creations, writes, syncs.
 *
 * Loaded with LD_PRELOAD by store_kill.py, which rebuilds from the log what a disk could hold after
 * a power loss at any moment. Syncs are written down and not carried out: the log is the disk.
 * While the file $POWER_FULL exists, writes to the database fail as they do on a full disk.
 *
 * One entry: op (C create, W write, T truncate, S sync, U unlink), length of the name, offset,
 * length of the data; then the name below the folder (empty: the folder itself) and the data.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *folder, *full;
static size_t folder_len;
static int log_fd = -1;

static int (*real_open)(const char *, int, ...);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_ftruncate)(int, off64_t);
static int (*real_fsync)(int);
static int (*real_unlink)(const char *);

__attribute__((constructor)) static void start(void) {
    real_open = dlsym(RTLD_NEXT, "open64");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    folder = getenv("POWER_FOLDER");
    full = getenv("POWER_FULL");
    folder_len = folder ? strlen(folder) : 0;
    if (getenv("POWER_LOG"))
        log_fd = real_open(getenv("POWER_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* The name below the folder, or NULL for files elsewhere. */
static const char *below(const char *path) {
    if (log_fd < 0 || !folder_len || strncmp(path, folder, folder_len)) return NULL;
    if (path[folder_len] == 0) return path + folder_len;
    return path[folder_len] == '/' ? path + folder_len + 1 : NULL;
}

static const char *name_of(int fd, char *path, size_t size) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, size - 1);
    if (n < 0) return NULL;
    path[n] = 0;
    return below(path);
}

static void note(char op, const char *name, uint64_t offset, const void *data, uint64_t length) {
    struct __attribute__((packed)) { char op; uint32_t name; uint64_t offset, length; } head = {
        op, (uint32_t)strlen(name), offset, length};
    struct iovec parts[3] = {
        {&head, sizeof head}, {(void *)name, head.name}, {(void *)data, data ? length : 0}};
    if (!data) head.length = 0;
    if (writev(log_fd, parts, 3) < 0) abort();
}

static int is_full(const char *name) {
    return full && strstr(name, ".db") && access(full, F_OK) == 0;
}

static int open_noted(const char *path, int flags, mode_t mode) {
    const char *name = (flags & O_CREAT) ? below(path) : NULL;
    pthread_mutex_lock(&lock);
    int was_there = name ? access(path, F_OK) == 0 : 1;
    int fd = real_open(path, flags, mode);
    int saved = errno;
    if (name && fd >= 0 && !was_there) note('C', name, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return fd;
}

int open(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & O_CREAT) ? va_arg(args, mode_t) : 0;
    va_end(args);
    return open_noted(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & O_CREAT) ? va_arg(args, mode_t) : 0;
    va_end(args);
    return open_noted(path, flags, mode);
}

static ssize_t write_noted(int fd, const void *data, size_t length, off64_t offset, int at) {
    char path[4096];
    const char *name = name_of(fd, path, sizeof path);
    if (name && is_full(name)) {
        errno = ENOSPC;
        return -1;
    }
    if (!name) return at ? real_pwrite(fd, data, length, offset) : real_write(fd, data, length);
    pthread_mutex_lock(&lock);
    if (!at) offset = lseek64(fd, 0, SEEK_CUR);
    ssize_t n = at ? real_pwrite(fd, data, length, offset) : real_write(fd, data, length);
    int saved = errno;
    if (n > 0) note('W', name, (uint64_t)offset, data, (uint64_t)n);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return n;
}

ssize_t write(int fd, const void *data, size_t length) {
    return write_noted(fd, data, length, 0, 0);
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    return write_noted(fd, data, length, offset, 1);
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    return write_noted(fd, data, length, offset, 1);
}

int ftruncate64(int fd, off64_t length) {
    char path[4096];
    const char *name = name_of(fd, path, sizeof path);
    pthread_mutex_lock(&lock);
    int result = real_ftruncate(fd, length);
    int saved = errno;
    if (name && !result) note('T', name, (uint64_t)length, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return result;
}
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int sync_noted(int fd) {
    char path[4096];
    const char *name = name_of(fd, path, sizeof path);
    if (!name) return real_fsync(fd);
    pthread_mutex_lock(&lock);
    note('S', name, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return 0;
}
int fsync(int fd) { return sync_noted(fd); }
int fdatasync(int fd) { return sync_noted(fd); }

int unlink(const char *path) {
    const char *name = below(path);
    pthread_mutex_lock(&lock);
    int result = real_unlink(path);
    int saved = errno;
    if (name && !result) note('U', name, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return result;
}
