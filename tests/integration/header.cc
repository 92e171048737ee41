// undine.h and libundine from C++.
#include <undine.h>

#include <cstddef>
#include <cstdio>

// What libundine.so.0 has promised, on machines of 64 bits: the structs keep their layout.
static_assert(sizeof(undine_error) == 520 && offsetof(undine_error, message) == 8, "");
static_assert(sizeof(undine_value) == 16 && offsetof(undine_value, len) == 8, "");
static_assert(sizeof(undine_feature) == 24 && offsetof(undine_feature, n_values) == 16, "");
static_assert(sizeof(undine_features) == 16 && sizeof(undine_sequence) == 24, "");
static_assert(sizeof(undine_request) == 80 && offsetof(undine_request, user) == 16 &&
                  offsetof(undine_request, context) == 32 && offsetof(undine_request, sequences) == 48 &&
                  offsetof(undine_request, candidates) == 64,
              "");

int main()
{
    undine_error err{};
    undine_scorer *scorer = nullptr;
    const int rc = undine_scorer_open(&scorer, "/nowhere", &err);
    std::printf("undine %s: %d %s\n", undine_version_string(), rc, err.message);
    undine_scorer_close(scorer);
    return rc == UNDINE_CODE_NOT_FOUND ? 0 : 1;
}
