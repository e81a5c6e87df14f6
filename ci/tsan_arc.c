/* For ThreadSanitizer alone, which does not model fences: the last drop of an Arc is ordered after the others by one, `fence(Acquire)` after a
 * Release `fetch_sub`. With --wrap the linker puts this in place of the sanitizer's `fetch_sub`: Acquire comes with the subtraction itself.
 * So what an Arc's content is dropped after is seen, and need not be suppressed. What this hides, a count of our own that forgets its
 * Acquire, the models look for (`Bug::ReferenceDroppedRelaxed`). */

enum { RELEASE = 3, ACQ_REL = 4 };

unsigned long __real___tsan_atomic64_fetch_sub(volatile unsigned long *at, unsigned long by, int order);

unsigned long __wrap___tsan_atomic64_fetch_sub(volatile unsigned long *at, unsigned long by, int order)
{
    return __real___tsan_atomic64_fetch_sub(at, by, order == RELEASE ? ACQ_REL : order);
}
