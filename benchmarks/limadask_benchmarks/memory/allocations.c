/* Counts large allocations of the process that it is preloaded into, and who makes them.

   It stands before malloc and its kin, and before mmap; what they do is left to the C library. A
   caller is told by its line of Python where the thread holds Python's lock, else by its library.
   Only for glibc. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LARGE (64 << 10)
#define SITES 512
#define TEXT 256
#define CALLERS 3

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

struct site {
    char text[TEXT];
    long count;
    long long bytes;
};

static struct site sites[SITES];
static int known;
static atomic_int counts;
static atomic_flag locked = ATOMIC_FLAG_INIT;
static __thread int within;

/* ---- Python, as far as it is there ------------------------------------------------------------ */

typedef void *(*returning)();
typedef int (*telling)();
static telling lock_is_held, line_of;
static returning current_frame, back_of, code_of, attribute;
static const char *(*utf8)(void *);
static void (*forget)(void *);

static void find_python(void) {
    lock_is_held = (telling)dlsym(RTLD_DEFAULT, "PyGILState_Check");
    line_of = (telling)dlsym(RTLD_DEFAULT, "PyFrame_GetLineNumber");
    current_frame = (returning)dlsym(RTLD_DEFAULT, "PyEval_GetFrame");
    back_of = (returning)dlsym(RTLD_DEFAULT, "PyFrame_GetBack");
    code_of = (returning)dlsym(RTLD_DEFAULT, "PyFrame_GetCode");
    attribute = (returning)dlsym(RTLD_DEFAULT, "PyObject_GetAttrString");
    utf8 = (const char *(*)(void *))dlsym(RTLD_DEFAULT, "PyUnicode_AsUTF8");
    forget = (void (*)(void *))dlsym(RTLD_DEFAULT, "Py_DecRef");
}

static const char *last_part(const char *path) {
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path ? path : "compiled code";
}

static int tell_python(char *text) {
    if (!lock_is_held || !lock_is_held()) return 0;
    void *frame = current_frame(); /* borrowed; those behind it are not */
    int end = 0;
    for (int depth = 0; frame && depth < CALLERS; depth++) {
        void *code = code_of(frame);
        void *file = attribute(code, "co_filename"), *name = attribute(code, "co_name");
        int left = TEXT - end;
        int more = snprintf(text + end, left, "%s%s:%d %s", depth ? " < " : "",
                            last_part(utf8(file)), line_of(frame), utf8(name));
        end += more < left ? more : left - 1;
        void *back = back_of(frame);
        forget(name), forget(file), forget(code);
        if (depth) forget(frame);
        frame = back;
    }
    if (frame) forget(frame);
    return end > 0;
}

/* ---- counting --------------------------------------------------------------------------------- */

static void tell(size_t nbytes, void *caller) {
    char text[TEXT] = "";
    within = 1;
    if (!tell_python(text)) {
        Dl_info library;
        int is_found = dladdr(caller, &library);
        const char *name = is_found ? library.dli_sname : NULL;
        snprintf(text, TEXT, "%s %s", last_part(is_found ? library.dli_fname : NULL), name ? name : "");
    }
    while (atomic_flag_test_and_set(&locked)) {}
    int number = 0;
    while (number < known && strcmp(sites[number].text, text)) number++;
    if (number < SITES) {
        if (number == known) memset(&sites[known++], 0, sizeof *sites);
        memcpy(sites[number].text, text, TEXT);
        sites[number].count++;
        sites[number].bytes += (long long)nbytes;
    }
    atomic_flag_clear(&locked);
    within = 0;
}

static inline void note(size_t nbytes, void *caller) {
    if (nbytes >= LARGE && atomic_load_explicit(&counts, memory_order_relaxed) && !within) {
        int before = errno;
        tell(nbytes, caller);
        errno = before;
    }
}

void limadask_count(int on) {
    atomic_store(&counts, 0);
    if (!on) return;
    find_python();
    known = 0;
    atomic_store(&counts, 1);
}

int limadask_sites(void) { return known; }

const char *limadask_site(int number, long *count, long long *bytes) {
    *count = sites[number].count;
    *bytes = sites[number].bytes;
    return sites[number].text;
}

/* ---- what is stood before --------------------------------------------------------------------- */

void *malloc(size_t nbytes) {
    note(nbytes, __builtin_return_address(0));
    return __libc_malloc(nbytes);
}

void *calloc(size_t count, size_t size) {
    note(count * size, __builtin_return_address(0));
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t nbytes) {
    if (!old || nbytes > malloc_usable_size(old)) note(nbytes, __builtin_return_address(0));
    return __libc_realloc(old, nbytes);
}

void *memalign(size_t alignment, size_t nbytes) {
    note(nbytes, __builtin_return_address(0));
    return __libc_memalign(alignment, nbytes);
}

void *aligned_alloc(size_t alignment, size_t nbytes) {
    note(nbytes, __builtin_return_address(0));
    return __libc_memalign(alignment, nbytes);
}

int posix_memalign(void **result, size_t alignment, size_t nbytes) {
    note(nbytes, __builtin_return_address(0));
    void *found = __libc_memalign(alignment, nbytes);
    if (!found) return ENOMEM;
    *result = found;
    return 0;
}

void *mmap(void *address, size_t nbytes, int protection, int flags, int file, off_t offset) {
    if (flags & MAP_ANONYMOUS && protection & PROT_WRITE) note(nbytes, __builtin_return_address(0));
    return (void *)syscall(SYS_mmap, address, nbytes, protection, flags, file, offset);
}

void *mmap64(void *address, size_t nbytes, int protection, int flags, int file, off_t offset) {
    return mmap(address, nbytes, protection, flags, file, offset);
}
