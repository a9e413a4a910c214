// Whether what is no longer needed is kept for the next who needs the like. Not under
// AddressSanitizer: it sees the use of what was freed, not of what waits in a pool.
#pragma once

namespace pillion::proxy {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kIsReusing = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool kIsReusing = false;
#else
constexpr bool kIsReusing = true;
#endif
#else
constexpr bool kIsReusing = true;
#endif

}  // namespace pillion::proxy
