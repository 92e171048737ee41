// undine.h and libundine from C++.
#include <undine.h>

#include <cstdio>

int main()
{
    undine_error err{};
    undine_scorer *scorer = nullptr;
    const int rc = undine_scorer_open(&scorer, "/nowhere", &err);
    std::printf("undine %s: %d %s\n", undine_version_string(), rc, err.message);
    undine_scorer_close(scorer);
    return rc == -6 ? 0 : 1;
}
