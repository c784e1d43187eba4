// For ThreadSanitizer, as LD_PRELOAD: tells it of what happens before what in Swift's libraries, which are not instrumented.
//
// A contended Mutex: the fast paths are inlined and instrumented; the slow ones are in libswiftSynchronization and let the kernel hand the lock
// over (FUTEX_LOCK_PI). A continuation that is resumed before its task waits for it: the task goes on at once, and what it is given was written by
// another thread; where it does wait, the runtime itself tells the sanitizer. Copy on write: who drops its reference has read before the last holder,
// finding that it is that, writes in place.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

// Of the sanitizer; the processes that a test starts may be without it.
extern void __tsan_acquire(void *address) __attribute__((weak));
extern void __tsan_release(void *address) __attribute__((weak));

#define SWIFT __attribute__((swiftcall))
#define ASYNC __attribute__((swiftasynccall))
#define SELF __attribute__((swift_context)) void *self
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

typedef SWIFT void Lock(uint32_t thread, SELF);
typedef SWIFT bool TryLock(SELF);
typedef SWIFT void Unlock(SELF);

SWIFT void lock(uint32_t thread, SELF) __asm__(LOCK);
SWIFT bool try_lock(SELF) __asm__(TRY_LOCK);
SWIFT void unlock(SELF) __asm__(UNLOCK);

typedef SWIFT void Resume(void *task);
typedef SWIFT void ResumeWithError(void *task, void *error);
typedef SWIFT void Enter(char *context);
typedef ASYNC void Await(void *context);
typedef ASYNC void ResumeFunction(__attribute__((swift_async_context)) void *context);
extern SWIFT void *swift_task_getCurrent(void) __attribute__((weak));

typedef void Release(void *object);
typedef void ReleaseSeveral(void *object, uint32_t count);
typedef bool IsUnique(const void *object);

static Lock *next_lock;
static TryLock *next_try_lock;
static Unlock *next_unlock;
static Resume *next_resume, *next_throwing_resume;
static ResumeWithError *next_resume_with_error;
static Await *next_await;
static Enter *next_enter;
static Release *next_release;
static ReleaseSeveral *next_release_several;
static IsUnique *next_is_unique, *next_is_unique_or_null;

__attribute__((constructor)) static void find(void) {
    next_lock = (Lock *)dlsym(RTLD_NEXT, LOCK);
    next_try_lock = (TryLock *)dlsym(RTLD_NEXT, TRY_LOCK);
    next_unlock = (Unlock *)dlsym(RTLD_NEXT, UNLOCK);
    next_resume = (Resume *)dlsym(RTLD_NEXT, "swift_continuation_resume");
    next_throwing_resume = (Resume *)dlsym(RTLD_NEXT, "swift_continuation_throwingResume");
    next_resume_with_error = (ResumeWithError *)dlsym(RTLD_NEXT, "swift_continuation_throwingResumeWithError");
    next_await = (Await *)dlsym(RTLD_NEXT, "swift_continuation_await");
    next_enter = (Enter *)dlsym(RTLD_NEXT, "swift_task_enterThreadLocalContext");
    next_release = (Release *)dlsym(RTLD_NEXT, "swift_release");
    next_release_several = (ReleaseSeveral *)dlsym(RTLD_NEXT, "swift_release_n");
    next_is_unique = (IsUnique *)dlsym(RTLD_NEXT, "swift_isUniquelyReferenced_nonNull_native");
    next_is_unique_or_null = (IsUnique *)dlsym(RTLD_NEXT, "swift_isUniquelyReferenced_native");
}

SWIFT void lock(uint32_t thread, SELF) {
    next_lock(thread, self);
    if (__tsan_acquire) __tsan_acquire(self);
}

SWIFT bool try_lock(SELF) {
    bool locked = next_try_lock(self);
    if (locked && __tsan_acquire) __tsan_acquire(self);
    return locked;
}

SWIFT void unlock(SELF) {
    if (__tsan_release) __tsan_release(self);
    next_unlock(self);
}

SWIFT void swift_continuation_resume(void *task) {
    if (__tsan_release) __tsan_release(task);
    next_resume(task);
}

SWIFT void swift_continuation_throwingResume(void *task) {
    if (__tsan_release) __tsan_release(task);
    next_throwing_resume(task);
}

SWIFT void swift_continuation_throwingResumeWithError(void *task, void *error) {
    if (__tsan_release) __tsan_release(task);
    next_resume_with_error(task, error);
}

// Where a task goes on that need not wait: swift_continuation_await calls what the context names, which is exchanged for `resumed`. By context, in a
// table that is never emptied: contexts come from the same memory again and again.
enum { slots = 1 << 20 };
static struct { void *context; ResumeFunction *function; } resume_functions[slots];
static atomic_flag is_busy = ATOMIC_FLAG_INIT;

static ResumeFunction *exchange(void *context, ResumeFunction *function) {
    while (atomic_flag_test_and_set_explicit(&is_busy, memory_order_acquire)) sched_yield();
    size_t slot = ((uintptr_t)context >> 4) * 0x9e3779b97f4a7c15u >> 44;
    for (int probes = 0; resume_functions[slot].context && resume_functions[slot].context != context; slot = (slot + 1) % slots)
        if (++probes == slots) abort();
    ResumeFunction *known = resume_functions[slot].function;
    if (function) {
        resume_functions[slot].context = context;
        resume_functions[slot].function = function;
    }
    atomic_flag_clear_explicit(&is_busy, memory_order_release);
    return known;
}

static ASYNC void resumed(__attribute__((swift_async_context)) void *context) {
    ResumeFunction *function = exchange(context, NULL);
    __tsan_acquire(swift_task_getCurrent());
    __attribute__((musttail)) return function(context);
}

ASYNC void swift_continuation_await(void *context) {
    ResumeFunction **function = (ResumeFunction **)context + 1;
    if (__tsan_acquire && *function != resumed) {
        exchange(context, *function);
        *function = resumed;
    }
    __attribute__((musttail)) return next_await(context);
}

// Called where a wait inside the library itself (withCheckedContinuation of generic code) finds that it need not wait after all.
SWIFT void swift_task_enterThreadLocalContext(char *context) {
    next_enter(context);
    void *task = swift_task_getCurrent ? swift_task_getCurrent() : NULL;
    if (__tsan_acquire && task) __tsan_acquire(task);
}

// Only a reference beside others is told of: of the last one nobody reads afterwards. (Bits 33 to 62 of the word behind the object's type count the others.)
static void tell(void *object) {
    if (!object || !__tsan_release) return;
    int64_t bits = __atomic_load_n((int64_t *)object + 1, __ATOMIC_RELAXED);
    if (bits > 0 && bits >> 33) __tsan_release(object);
}

// Compiled code may expect that releasing leaves its registers alone.
__attribute__((preserve_most)) void swift_release(void *object) {
    if (!next_release) find();  // another library's constructor may come first
    tell(object);
    next_release(object);
}

__attribute__((preserve_most)) void swift_release_n(void *object, uint32_t count) {
    if (!next_release_several) find();
    tell(object);
    next_release_several(object, count);
}

static bool told(bool is_unique, const void *object) {
    if (is_unique && object && __tsan_acquire) __tsan_acquire((void *)object);
    return is_unique;
}

bool swift_isUniquelyReferenced_nonNull_native(const void *object) {
    if (!next_is_unique) find();
    return told(next_is_unique(object), object);
}

bool swift_isUniquelyReferenced_native(const void *object) {
    if (!next_is_unique_or_null) find();
    return told(next_is_unique_or_null(object), object);
}
