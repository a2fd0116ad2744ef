/* LNN_APART: one copy, however many layers call it, and a node of the call graph around assembly. */
#if defined(__GNUC__)
#define LNN_INLINE static inline __attribute__((always_inline, unused))
#define LNN_ALIGNED __attribute__((aligned(4)))
#define LNN_APART __attribute__((noinline, unused))
#else
#define LNN_INLINE static inline
#define LNN_ALIGNED
#define LNN_APART
#endif
/* Worth a copy in every loop that calls it, where there is flash enough. */
#if LNN_PATH > 0
#define LNN_FAST LNN_INLINE
#else
#define LNN_FAST static inline
#endif
