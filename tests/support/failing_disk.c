/* A disk that fails when told to: fdatasync and fsync, or pwrite, answer EIO while a file is there.
 * Loaded before the C library's own; FAILING_DISK names the file, whose text says which call fails: sync, and then a
 * write to the journal too, which is on the disk when it returns; write; or file, which is sync without the journal. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int fails(const char *call) {
    char text[64] = {0};
    const char *name = getenv("FAILING_DISK");
    int handle = name ? open(name, O_RDONLY) : -1;
    if (handle < 0) return 0;
    if (read(handle, text, sizeof text - 1) < 0) text[0] = 0;
    close(handle);
    if (!strstr(text, call)) return 0;
    errno = EIO;
    return 1;
}

static int is_journal(int handle) {
    char path[64], name[4096] = {0};
    snprintf(path, sizeof path, "/proc/self/fd/%d", handle);
    ssize_t length = readlink(path, name, sizeof name - 1);
    return length > 8 && !strcmp(name + length - 8, "/journal");
}

static int write_fails(int handle) { return fails("write") || (is_journal(handle) && fails("sync")); }

int fdatasync(int handle) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return fails("sync") || fails("file") ? -1 : real(handle);
}

int fsync(int handle) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return fails("sync") || fails("file") ? -1 : real(handle);
}

ssize_t pwrite(int handle, const void *data, size_t size, off_t offset) {
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real) real = (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
    return write_fails(handle) ? -1 : real(handle, data, size, offset);
}

ssize_t pwrite64(int handle, const void *data, size_t size, off64_t offset) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) real = (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    return write_fails(handle) ? -1 : real(handle, data, size, offset);
}

ssize_t pwritev(int handle, const struct iovec *parts, int count, off_t offset) {
    static ssize_t (*real)(int, const struct iovec *, int, off_t);
    if (!real) real = (ssize_t (*)(int, const struct iovec *, int, off_t))dlsym(RTLD_NEXT, "pwritev");
    return fails("write") ? -1 : real(handle, parts, count, offset);
}
