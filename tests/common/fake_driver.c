// As much of NVIDIA's driver as is asked before a device is used: its version and capability are what the environment says.
#include <stdlib.h>
#include <string.h>

static int number(const char *name) {
    const char *text = getenv(name);
    return text ? atoi(text) : 0;
}

int cuInit(unsigned flags) { return 0; }
int cuDeviceGetCount(int *count) { return *count = 1, 0; }
int cuDriverGetVersion(int *version) { return *version = number("FAKE_DRIVER"), 0; }
int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, 0; }

// Attributes 75 and 76 are the two numbers of the compute capability.
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    const int capability = number("FAKE_CAPABILITY");
    *value = attribute == 75 ? capability / 10 : attribute == 76 ? capability % 10 : 100;
    return 0;
}
