/* A fault layer between one process and its system: syncs that take long, and a wall clock that is wrong.
 *
 * Loaded by LD_PRELOAD. FAULTS_FILE names a file of two 64-bit integers, which its owner writes at any time:
 * milliseconds that every sync of a file takes longer, and seconds that are added to the wall clock. Monotonic
 * clocks, sleeps and timers are left alone, as when an administrator sets the time.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *faults;

__attribute__((constructor)) static void open_faults(void) {
    const char *path = getenv("FAULTS_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED) faults = page;
}

static void wait_for_disk(void) {
    int64_t ms = faults ? faults[0] : 0;
    struct timespec pause = {ms / 1000, (ms % 1000) * 1000000};
    if (ms > 0) nanosleep(&pause, NULL);
}

int fsync(int file) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_for_disk();
    return real(file);
}

int fdatasync(int file) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_for_disk();
    return real(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && faults && clock == CLOCK_REALTIME) now->tv_sec += faults[1];
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    static int (*real)(struct timeval *, void *);
    if (!real) real = (int (*)(struct timeval *, void *))dlsym(RTLD_NEXT, "gettimeofday");
    int failed = real(now, zone);
    if (!failed && faults) now->tv_sec += faults[1];
    return failed;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
