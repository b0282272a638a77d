// SPDX-License-Identifier: Apache-2.0
// Shared ownership by a count inside the object.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace inflight::internal {

// Starts with one share, the creator's.
class RefCounted {
 public:
  RefCounted() = default;
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;

  void ref() noexcept { refs_.fetch_add(1, std::memory_order_relaxed); }
  void unref() noexcept {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy();
  }
  // How many shares there are. Where all of them are the caller's, nobody else can make another, and
  // everything that former owners did is visible.
  std::uint32_t shares() const noexcept { return refs_.load(std::memory_order_acquire); }

 protected:
  virtual ~RefCounted() = default;
  // Called when the last share goes; a pooled type takes itself back instead of dying.
  virtual void destroy() noexcept { delete this; }
  // For a pooled type that comes out again.
  void reset_refs() noexcept { refs_.store(1, std::memory_order_relaxed); }

 private:
  std::atomic<std::uint32_t> refs_{1};
};

// A share in a RefCounted.
template <typename T>
class Ref {
 public:
  Ref() noexcept = default;
  // Takes over a share that already counts.
  static Ref adopt(T* object) noexcept {
    Ref ref;
    ref.object_ = object;
    return ref;
  }
  // Adds a share.
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
    // The analyzer does not follow the count, and takes any share for the last.
    if (object_ != nullptr) object_->unref();  // NOLINT(clang-analyzer-cplusplus.NewDelete)
  }

  T* get() const noexcept { return object_; }
  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }
  // Gives the share up without ending it.
  T* release() noexcept { return std::exchange(object_, nullptr); }
  friend bool operator==(const Ref& a, const Ref& b) noexcept { return a.object_ == b.object_; }

 private:
  T* object_ = nullptr;
};

}  // namespace inflight::internal
