/*
 * Preloaded into a process, writes the name of each system call that changes the disk to
 * the file descriptor 1. The call number CALLS_KILL ends the process in its place; the call
 * number CALLS_FAIL fails with EIO, and so do the calls of the same name that come later.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int calls;
static const char *failing = "";

static int
fails(const char *name)
{
    const char *kill = getenv("CALLS_KILL"), *fail = getenv("CALLS_FAIL");
    dprintf(1, "%s\n", name);
    calls++;
    if (kill != NULL && calls == atoi(kill)) {
        _exit(9);
    }
    if (fail != NULL && calls == atoi(fail)) {
        failing = name;
    }
    errno = EIO;
    return !strcmp(failing, name);
}

#define NEXT(name, ...) ((int (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

ssize_t
writev(int file, const struct iovec *pieces, int count)
{
    if (fails("writev")) {
        return -1;
    }
    /* No more than three bytes at once. */
    struct iovec some = {pieces->iov_base, pieces->iov_len < 3 ? pieces->iov_len : 3};
    (void)count;
    return ((ssize_t(*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "writev"))(file, &some, 1);
}

int
fsync(int file)
{
    struct stat found;
    fstat(file, &found);
    return fails(S_ISDIR(found.st_mode) ? "sync a directory" : "sync a file")
               ? -1 : NEXT("fsync", int)(file);
}

int
link(const char *from, const char *to)
{
    return fails("link") ? -1 : NEXT("link", const char *, const char *)(from, to);
}

int
unlink(const char *path)
{
    return fails("unlink") ? -1 : NEXT("unlink", const char *)(path);
}
