// SPDX-License-Identifier: Apache-2.0
// What clang's -Wthread-safety checks: which lock guards a member, and what a function does with a lock.
// Other compilers see nothing.
#pragma once

#if defined(__clang__)
#define INFLIGHT_THREAD_ANNOTATION_(attribute) __attribute__((attribute))
#else
#define INFLIGHT_THREAD_ANNOTATION_(attribute)
#endif

#define INFLIGHT_CAPABILITY(name) INFLIGHT_THREAD_ANNOTATION_(capability(name))
#define INFLIGHT_SCOPED_CAPABILITY INFLIGHT_THREAD_ANNOTATION_(scoped_lockable)
#define INFLIGHT_GUARDED_BY(mutex) INFLIGHT_THREAD_ANNOTATION_(guarded_by(mutex))
#define INFLIGHT_PT_GUARDED_BY(mutex) INFLIGHT_THREAD_ANNOTATION_(pt_guarded_by(mutex))
#define INFLIGHT_REQUIRES(...) INFLIGHT_THREAD_ANNOTATION_(requires_capability(__VA_ARGS__))
#define INFLIGHT_EXCLUDES(...) INFLIGHT_THREAD_ANNOTATION_(locks_excluded(__VA_ARGS__))
#define INFLIGHT_ACQUIRE(...) INFLIGHT_THREAD_ANNOTATION_(acquire_capability(__VA_ARGS__))
#define INFLIGHT_TRY_ACQUIRE(...) INFLIGHT_THREAD_ANNOTATION_(try_acquire_capability(__VA_ARGS__))
#define INFLIGHT_RELEASE(...) INFLIGHT_THREAD_ANNOTATION_(release_capability(__VA_ARGS__))
#define INFLIGHT_ASSERT_CAPABILITY(...) INFLIGHT_THREAD_ANNOTATION_(assert_capability(__VA_ARGS__))
// Only where the analysis cannot follow; a comment says why.
#define INFLIGHT_NO_THREAD_SAFETY_ANALYSIS INFLIGHT_THREAD_ANNOTATION_(no_thread_safety_analysis)
