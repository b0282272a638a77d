// SPDX-License-Identifier: Apache-2.0
// Shared ownership by a count inside the object: a reference costs one pointer, and an object no second
// allocation.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace inflight::internal {

// An object that counts its references. It starts with one, the creator's.
//   thread   any
class RefCounted {
 public:
  RefCounted() = default;
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;

  // Adds a reference. Requires that the caller holds one.
  void ref() noexcept { refs_.fetch_add(1, std::memory_order_relaxed); }
  // Drops one. The last one destroys the object, on this thread.
  void unref() noexcept {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy();
  }
  // How many references there are. If all of them are the caller's, no other thread can make another one, and
  // everything that former owners did is visible.
  std::uint32_t shares() const noexcept { return refs_.load(std::memory_order_acquire); }

 protected:
  virtual ~RefCounted() = default;
  // Called when the last reference goes. A pooled type returns to its pool here.
  virtual void destroy() noexcept { delete this; }
  // For a pooled type that leaves its pool again: one reference.
  void reset_refs() noexcept { refs_.store(1, std::memory_order_relaxed); }

 private:
  std::atomic<std::uint32_t> refs_{1};
};

// A reference to a RefCounted, or null.
template <typename T>
class Ref {
 public:
  Ref() noexcept = default;
  // Takes over a reference that is already counted.
  static Ref adopt(T* object) noexcept {
    Ref ref;
    ref.object_ = object;
    return ref;
  }
  // Adds a reference. `object` may be null.
  static Ref share(T* object) noexcept {
    if (object != nullptr) object->ref();
    return adopt(object);
  }
  Ref(const Ref& other) noexcept : Ref(share(other.object_)) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  // Implicit, as in shared_ptr.
  template <typename U, typename = std::enable_if_t<std::is_convertible_v<U*, T*>>>
  Ref(Ref<U> other) noexcept : object_(other.release()) {}  // NOLINT(google-explicit-constructor)
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    // The analyzer does not follow the count, and takes any reference for the last.
    if (object_ != nullptr) object_->unref();  // NOLINT(clang-analyzer-cplusplus.NewDelete)
  }

  T* get() const noexcept { return object_; }
  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }
  // Gives the pointer to the caller, who now owns the reference.
  T* release() noexcept { return std::exchange(object_, nullptr); }
  friend bool operator==(const Ref& a, const Ref& b) noexcept { return a.object_ == b.object_; }

 private:
  T* object_ = nullptr;
};

}  // namespace inflight::internal
