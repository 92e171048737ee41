/* Stored values of the family `arrivals`.  Property: a valid block is valid at no other length, and
 * a copy that lies at an odd address is judged the same. */
#include "featurestore/arrivals.h"
#include "tests/support/store_fixture.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct schema schema;
    fixture_schema(&schema, 10);
    if (arrivals_check(NULL, &schema, data, size, NULL) != UNDINE_OK) {
        return 0;
    }
    uint8_t *odd = malloc(size + 9);
    UNDINE_ASSERT(odd != NULL);
    memset(odd, 0, size + 9);
    memcpy(odd + 1, data, size);
    UNDINE_ASSERT(arrivals_check(NULL, &schema, odd + 1, size, NULL) == UNDINE_OK);
    UNDINE_ASSERT(arrivals_check(NULL, &schema, odd + 1, size - 1, NULL) == UNDINE_ECORRUPT);
    UNDINE_ASSERT(arrivals_check(NULL, &schema, odd + 1, size + 8, NULL) == UNDINE_ECORRUPT);
    free(odd);
    return 0;
}
