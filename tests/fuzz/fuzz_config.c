/* Any bytes are a configuration or an error that says where; what loads can be shown, and what is
 * shown loads and shows the same. */
#include "configs/config.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *c = NULL, *again = NULL;
    struct undine_err err = {0};
    int rc = config_parse(&c, "f.yaml", data, size, NULL, 0, &err);
    if (rc != UNDINE_OK) {
        UNDINE_ASSERT(rc == UNDINE_ECONFIG && c == NULL);
        UNDINE_ASSERT(strncmp(err.msg, "f.yaml:", strlen("f.yaml:")) == 0);
        return 0;
    }
    char *shown = config_show(c);
    UNDINE_ASSERT(shown != NULL);
    rc = config_parse(&again, "f.yaml", shown, strlen(shown), NULL, 0, &err);
    UNDINE_ASSERT(rc == UNDINE_OK);
    char *shown_again = config_show(again);
    UNDINE_ASSERT(shown_again != NULL && strcmp(shown, shown_again) == 0);
    UNDINE_ASSERT(c->ingest.config_digest == again->ingest.config_digest);
    free(shown);
    free(shown_again);
    config_free(c);
    config_free(again);
    return 0;
}
