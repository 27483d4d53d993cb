/* Fakes of CUDA's libraries: a GPU that takes memory and copies it, and computes nothing.

   On it onnxruntime-gpu opens its CUDA provider as on a real card: it reads options, divides the graph, chooses kernels
   and checks shapes for them, lays out weights, launches, records graphs. A launch is counted and does nothing, so
   that what a network gives is what was left in memory: zeros at first.

   The plugin for RTX cards goes less far: it offers the card, reads its options, takes the graph and compiles it, reads
   engines from their files. To run one, TensorRT brings a CUDA runtime of its own, which this driver does not serve.

   Here is what onnxruntime-gpu 1.31 and the plugin 0.5.0 ask for, after NVIDIA's public headers of CUDA 13 and cuDNN 9.
   Each library is this file with a name defined; see fake_cuda.py. Variables say which GPU it is:

   FAKE_SM        its compute capability, such as 89 for 8.9; by default 90
   FAKE_PCI       a folder in place of /sys/bus/pci/devices, where ONNX Runtime looks for cards

   These make it fail as a card may:

   FAKE_DRIVER    which CUDA the driver runs, such as 12040 for 12.4
   FAKE_BYTES     how much memory the card has
   FAKE_COUNT     what cudaGetDeviceCount returns, such as 999 for a driver that does not answer
   FAKE_LAUNCH    what a launch of a kernel returns, such as 209 for a card that the kernels were not built for
   FAKE_CAPTURE   what the end of the recording of a graph returns, such as 901 */

#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NOTHING(name) int name(void) { return 0; }
#define HANDLE(name) int name(void **handle) { *handle = calloc(1, 64); return 0; }
#define LAUNCH(name) int name(void) { return fake_launch(); }

int fake_launch(void);

static long wish(const char *name, long otherwise) {
  const char *value = getenv(name);
  return value == NULL ? otherwise : atol(value);
}

#ifdef CUDART

/* While a graph is recorded the card may not be waited for, nor its memory taken or given back: that breaks the
   recording, as on a card. */
static int capturing, broken;
static int forbidden(void) {
  if (capturing) broken = 1;
  return capturing ? 900 : 0; /* cudaErrorStreamCaptureUnsupported */
}
static long launches, replays;

static size_t memory(void) { return wish("FAKE_BYTES", 80l << 30); }

static int last_error;
int fake_launch(void) {
  ++launches;
  return last_error = wish("FAKE_LAUNCH", 0);
}
int cudaPeekAtLastError(void) { return last_error; }
int cudaGetLastError(void) {
  int error = last_error;
  last_error = 0;
  return error;
}
long fake_launches(void) { return launches; }
long fake_replays(void) { return replays; }

/* Offsets in cudaDeviceProp of CUDA 13: name 0, totalGlobalMem 288, sharedMemPerBlock 296, regsPerBlock 304,
   warpSize 308, maxThreadsPerBlock 320, maxThreadsDim 324, maxGridSize 336, totalConstMem 352, major 360, minor 364,
   multiProcessorCount 384, maxThreadsPerMultiProcessor 604, sharedMemPerMultiprocessor 624, regsPerMultiprocessor 632,
   cooperativeLaunch 664, sharedMemPerBlockOptin 672. */
int cudaGetDeviceProperties(char *properties, int device) {
  memset(properties, 0, 1008);
  strcpy(properties, "fake GPU");
  *(size_t *)(properties + 288) = memory();
  *(size_t *)(properties + 296) = 48 << 10;
  *(int *)(properties + 304) = 65536;
  *(int *)(properties + 308) = 32;
  *(int *)(properties + 320) = 1024;
  for (int axis = 0; axis < 3; ++axis) {
    ((int *)(properties + 324))[axis] = 1024;
    ((int *)(properties + 336))[axis] = 65535;
  }
  *(size_t *)(properties + 352) = 64 << 10;
  *(int *)(properties + 360) = wish("FAKE_SM", 90) / 10;
  *(int *)(properties + 364) = wish("FAKE_SM", 90) % 10;
  *(int *)(properties + 384) = 132;
  *(int *)(properties + 604) = 2048;
  *(size_t *)(properties + 624) = 228 << 10;
  *(int *)(properties + 632) = 65536;
  *(int *)(properties + 664) = 1;
  *(size_t *)(properties + 672) = 227 << 10;
  return 0;
}

int cudaDeviceGetAttribute(int *value, int attribute, int device) {
  switch (attribute) {
    case 75: *value = wish("FAKE_SM", 90) / 10; break; /* compute capability, major */
    case 76: *value = wish("FAKE_SM", 90) % 10; break; /* minor */
    case 16: *value = 132; break;         /* multiprocessors */
    case 97: *value = 227 << 10; break;   /* shared memory a block may ask for */
    default: *value = 1024;
  }
  return 0;
}

int cudaGetDeviceCount(int *count) { *count = 1; return wish("FAKE_COUNT", 0); }
int cudaGetDevice(int *device) { *device = 0; return 0; }
int cudaDeviceGetByPCIBusId(int *device, const char *address) { *device = 0; return 0; }
int cudaDriverGetVersion(int *version) { *version = 13000; return 0; }
int cudaRuntimeGetVersion(int *version) { *version = 13000; return 0; }
int cudaMemGetInfo(size_t *available, size_t *total) { *available = *total = memory(); return 0; }
const char *cudaGetErrorString(int error) { return "an error of a fake GPU"; }
const char *cudaGetErrorName(int error) { return "fake"; }

/* Before each array of the card stands its size, so that what is given back can be counted. */
static size_t taken, most;
static int take(void **pointer, size_t bytes) {
  char *start = aligned_alloc(256, (bytes + 511) / 256 * 256);
  if (start == NULL) return 2; /* cudaErrorMemoryAllocation */
  memset(start, 0, bytes + 256);
  *(size_t *)start = bytes;
  *pointer = start + 256;
  return 0;
}
static int give_back(void *pointer) {
  if (pointer != NULL) free((char *)pointer - 256);
  return 0;
}
int cudaMalloc(void **pointer, size_t bytes) {
  if (forbidden()) return 900;
  if (taken + bytes > memory()) return 2;
  taken += bytes;
  if (taken > most) most = taken;
  return take(pointer, bytes);
}
int cudaFree(void *pointer) {
  if (forbidden()) return 900;
  if (pointer != NULL) taken -= *(size_t *)((char *)pointer - 256);
  return give_back(pointer);
}
size_t fake_taken(void) { return taken; }
size_t fake_most(void) { return most; }
int cudaMallocHost(void **pointer, size_t bytes) { return take(pointer, bytes); }
int cudaHostAlloc(void **pointer, size_t bytes, unsigned flags) { return take(pointer, bytes); }
int cudaHostGetDevicePointer(void **device, void *host, unsigned flags) { *device = host; return 0; }
int cudaMallocFromPoolAsync(void **pointer, size_t bytes, void *pool, void *stream) {
  return cudaMalloc(pointer, bytes);
}
int cudaFreeHost(void *pointer) { return give_back(pointer); }
int cudaFreeAsync(void *pointer, void *stream) { return cudaFree(pointer); }
int cudaMemcpy(void *to, const void *from, size_t bytes, int kind) {
  if (forbidden()) return 900;
  memmove(to, from, bytes);
  return 0;
}
int cudaMemcpyAsync(void *to, const void *from, size_t bytes, int kind, void *stream) {
  memmove(to, from, bytes);
  return 0;
}
int cudaMemcpy2DAsync(char *to, size_t to_pitch, const char *from, size_t from_pitch, size_t width, size_t height,
                      int kind, void *stream) {
  for (size_t row = 0; row < height; ++row) memmove(to + row * to_pitch, from + row * from_pitch, width);
  return 0;
}
int cudaMemcpyFromSymbol(void *to, const void *symbol, size_t bytes, size_t offset, int kind) {
  memset(to, 0, bytes);
  return 0;
}
int cudaMemset(void *to, int value, size_t bytes) { memset(to, value, bytes); return 0; }
int cudaMemsetAsync(void *to, int value, size_t bytes, void *stream) { memset(to, value, bytes); return 0; }
int cudaPointerGetAttributes(void *attributes, const void *pointer) {
  memset(attributes, 0, 88);
  *(int *)attributes = 2; /* device memory */
  return 0;
}
int cudaMemPoolGetAttribute(void *pool, int attribute, void *value) { *(uint64_t *)value = 0; return 0; }

HANDLE(cudaStreamCreate)
HANDLE(cudaEventCreate)
HANDLE(cudaMemPoolCreate)
HANDLE(cudaLibraryLoadData)
HANDLE(cudaLibraryGetKernel)
HANDLE(__cudaGetKernel)
int cudaStreamCreateWithFlags(void **stream, unsigned flags) { return cudaStreamCreate(stream); }
int cudaEventCreateWithFlags(void **event, unsigned flags) { return cudaEventCreate(event); }
int cudaEventElapsedTime(float *milliseconds, void *start, void *end) { *milliseconds = 1; return 0; }
int cudaStreamIsCapturing(void *stream, int *status) { *status = capturing; return 0; }
int cudaStreamBeginCapture(void *stream, int mode) { capturing = 1; return 0; }
int cudaStreamEndCapture(void *stream, void **graph) {
  int was_broken = broken;
  capturing = broken = 0;
  *graph = calloc(1, 64);
  return was_broken ? 901 : wish("FAKE_CAPTURE", 0); /* cudaErrorStreamCaptureInvalidated */
}
int cudaGraphInstantiate(void **executable, void *graph, unsigned long long flags) {
  *executable = calloc(1, 64);
  return 0;
}
int cudaFuncGetAttributes(char *attributes, const void *function) {
  memset(attributes, 0, 144);
  *(int *)(attributes + 24) = 1024; /* maxThreadsPerBlock */
  *(int *)(attributes + 28) = 32;   /* numRegs */
  return 0;
}
int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *function, int size, size_t shared,
                                                           unsigned flags) {
  *blocks = 8;
  return 0;
}
int cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned version, unsigned long long flags,
                                     int *found) {
  *function = NULL;
  if (found != NULL) *found = 1; /* not found */
  return 0;
}
void **__cudaRegisterFatBinary(void *binary) { return calloc(1, 64); }
void __cudaRegisterFatBinaryEnd(void **handle) {}
void __cudaUnregisterFatBinary(void **handle) {}
void __cudaRegisterFunction(void) {}
void __cudaRegisterVar(void) {}
unsigned __cudaPushCallConfiguration(void) { return 0; }
int __cudaPopCallConfiguration(uint32_t *grid, uint32_t *block, size_t *shared, void **stream) {
  for (int axis = 0; axis < 3; ++axis) grid[axis] = block[axis] = 1;
  *shared = 0;
  *stream = NULL;
  return 0;
}
NOTHING(cudaSetDevice)
int cudaDeviceSynchronize(void) { return forbidden(); }
int cudaStreamSynchronize(void *stream) { return forbidden(); }
NOTHING(cudaEventDestroy)
NOTHING(cudaEventRecord)
NOTHING(cudaEventRecordWithFlags)
NOTHING(cudaEventSynchronize)
NOTHING(cudaFuncSetAttribute)
NOTHING(cudaGraphDestroy)
NOTHING(cudaGraphExecDestroy)
int cudaGraphLaunch(void *executable, void *stream) { ++replays; return 0; }
NOTHING(cudaKernelSetAttributeForDevice)
LAUNCH(cudaLaunchCooperativeKernel)
NOTHING(cudaLaunchHostFunc)
LAUNCH(cudaLaunchKernel)
LAUNCH(__cudaLaunchKernel)
LAUNCH(cudaLaunchKernelExC)
NOTHING(cudaLibraryUnload)
NOTHING(cudaMemPoolDestroy)
NOTHING(cudaMemPoolSetAttribute)
NOTHING(cudaMemPoolTrimTo)
NOTHING(cudaStreamDestroy)
NOTHING(cudaStreamWaitEvent)

#endif
#ifdef CUBLAS

HANDLE(cublasCreate_v2)
int cublasGetMathMode(void *handle, int *mode) { *mode = 0; return 0; }
const char *cublasGetStatusName(int status) { return "fake"; }
const char *cublasGetStatusString(int status) { return "an error of a fake GPU"; }
NOTHING(cublasDestroy_v2)
NOTHING(cublasDgeam)
NOTHING(cublasDgemmBatched)
NOTHING(cublasDgemmStridedBatched)
LAUNCH(cublasDgemm_v2)
NOTHING(cublasDgetrfBatched)
NOTHING(cublasDgetriBatched)
LAUNCH(cublasGemmBatchedEx)
LAUNCH(cublasGemmEx)
LAUNCH(cublasGemmStridedBatchedEx)
NOTHING(cublasScopy_v2)
NOTHING(cublasSetMathMode)
NOTHING(cublasSetStream_v2)
NOTHING(cublasSgeam)
LAUNCH(cublasSgemmBatched)
LAUNCH(cublasSgemmStridedBatched)
LAUNCH(cublasSgemm_v2)
NOTHING(cublasSgetrfBatched)
NOTHING(cublasSgetriBatched)
NOTHING(cublasSscal_v2)

#endif
#ifdef CUBLASLT

HANDLE(cublasLtCreate)
HANDLE(cublasLtMatmulDescCreate)
HANDLE(cublasLtMatmulPreferenceCreate)
HANDLE(cublasLtMatrixLayoutCreate)
HANDLE(cublasLtMatrixTransformDescCreate)
int cublasLtMatmulAlgoGetHeuristic(void *handle, void *operation, void *a, void *b, void *c, void *d, void *preference,
                                   int requested, void *results, int *found) {
  *found = 1;
  return 0;
}
NOTHING(cublasLtDestroy)
LAUNCH(cublasLtMatmul)
NOTHING(cublasLtMatmulAlgoConfigSetAttribute)
NOTHING(cublasLtMatmulAlgoInit)
NOTHING(cublasLtMatmulDescDestroy)
NOTHING(cublasLtMatmulDescSetAttribute)
NOTHING(cublasLtMatmulPreferenceDestroy)
NOTHING(cublasLtMatmulPreferenceSetAttribute)
NOTHING(cublasLtMatrixLayoutDestroy)
NOTHING(cublasLtMatrixLayoutSetAttribute)
NOTHING(cublasLtMatrixTransform)
NOTHING(cublasLtMatrixTransformDescDestroy)

#endif
#ifdef CUDNN

size_t cudnnGetVersion(void) { return 92800; }
const char *cudnnGetErrorString(int status) { return "an error of a fake GPU"; }
void cudnnGetLastErrorString(char *message, size_t bytes) { if (bytes) *message = 0; }
HANDLE(cudnnCreate)
HANDLE(cudnnCreateActivationDescriptor)
HANDLE(cudnnCreateConvolutionDescriptor)
HANDLE(cudnnCreateDropoutDescriptor)
HANDLE(cudnnCreateFilterDescriptor)
HANDLE(cudnnCreateReduceTensorDescriptor)
HANDLE(cudnnCreateTensorDescriptor)
int cudnnGetStream(void *handle, void **stream) { *stream = NULL; return 0; }

/* A descriptor of the backend is asked for numbers, which are 0, for one engine, and for no notes on it. */
int cudnnBackendCreateDescriptor(int type, void **descriptor) { *descriptor = calloc(1, 64); return 0; }
int cudnnBackendGetAttribute(void *descriptor, int name, int type, int64_t requested, int64_t *count, void *values) {
  int numbers = type == 3 || type == 23; /* int64 and int32 */
  int engines = type == 15 && name != 302; /* descriptors, but for an engine's knobs */
  if (count != NULL) *count = numbers || engines;
  if (numbers && values != NULL && requested > 0) memset(values, 0, type == 3 ? 8 : 4);
  return 0;
}
LAUNCH(cudnnAddTensor)
NOTHING(cudnnBackendDestroyDescriptor)
LAUNCH(cudnnBackendExecute)
NOTHING(cudnnBackendFinalize)
NOTHING(cudnnBackendSetAttribute)
NOTHING(cudnnDestroy)
NOTHING(cudnnDestroyActivationDescriptor)
NOTHING(cudnnDestroyConvolutionDescriptor)
NOTHING(cudnnDestroyDropoutDescriptor)
NOTHING(cudnnDestroyFilterDescriptor)
NOTHING(cudnnDestroyReduceTensorDescriptor)
NOTHING(cudnnDestroyTensorDescriptor)
NOTHING(cudnnSetStream)
NOTHING(cudnnSetTensorNdDescriptor)
NOTHING(cudnnSetFilterNdDescriptor)
NOTHING(cudnnSetConvolutionNdDescriptor)
NOTHING(cudnnSetConvolutionGroupCount)
NOTHING(cudnnSetConvolutionMathType)
LAUNCH(cudnnBatchNormalizationForwardTraining)
LAUNCH(cudnnBatchNormalizationForwardInference)
NOTHING(cudnnDeriveBNTensorDescriptor)

#endif
#ifdef NVML

int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return 0; }
int nvmlSystemGetDriverVersion(char *version, unsigned bytes) { strcpy(version, "580.65.06"); return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) { *handle = (void *)1; return 0; }
int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
  *major = wish("FAKE_SM", 90) / 10;
  *minor = wish("FAKE_SM", 90) % 10;
  return 0;
}
int nvmlDeviceGetName(void *handle, char *name, unsigned bytes) { strcpy(name, "fake GPU"); return 0; }
int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long *memory) {
  memory[0] = memory[1] = 80ull << 30;
  memory[2] = 0;
  return 0;
}
int nvmlDeviceGetPciInfo_v3(void *handle, char *place) {
  memset(place, 0, 68);
  *(unsigned *)(place + 20) = 1; /* the bus, after 16 bytes of text and the domain */
  return 0;
}
const char *nvmlErrorString(int status) { return "an error of a fake GPU"; }
NOTHING(nvmlInitWithFlags) /* pynvml */
NOTHING(nvmlInit_v2) /* the plugin */
NOTHING(nvmlShutdown)

#endif
#ifdef CUDA
HANDLE(cuCtxCreate_v4)
HANDLE(cuCtxGetCurrent)
HANDLE(cuCtxPopCurrent_v2)
HANDLE(cuStreamGetCtx)
int cuGetErrorString(int error, const char **message) { *message = "an error of a fake GPU"; return 0; }
/* By these a CUDA runtime finds all else, and finds nothing: CUDA_ERROR_NOT_FOUND. */
int cuGetProcAddress(const char *name, void **function) { *function = NULL; return 500; }
int cuGetProcAddress_v2(const char *name, void **function) { *function = NULL; return 500; }
int cuGetExportTable(void **table, const void *identifier) { *table = NULL; return 500; }
NOTHING(cuCtxDestroy_v2)
NOTHING(cuCtxPushCurrent_v2)
NOTHING(cuCtxSetCurrent)
NOTHING(cuDestroyExternalMemory)
NOTHING(cuDestroyExternalSemaphore)
NOTHING(cuExternalMemoryGetMappedBuffer)
NOTHING(cuImportExternalMemory)
NOTHING(cuImportExternalSemaphore)
NOTHING(cuInit)
NOTHING(cuSignalExternalSemaphoresAsync)
NOTHING(cuTensorMapEncodeTiled)
NOTHING(cuWaitExternalSemaphoresAsync)
int cuDriverGetVersion(int *version) { *version = wish("FAKE_DRIVER", 13000); return 0; }
#endif
#ifdef CURAND
NOTHING(curandFake)
#endif
#ifdef PCI

/* Loaded before all others: what libstdc++ asks the system for, with FAKE_PCI in place of the system's own folder. */
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <sys/stat.h>

static const char folder[] = "/sys/bus/pci/devices";
static const char *elsewhere(const char *path, char *other, size_t bytes) {
  const char *instead = getenv("FAKE_PCI");
  size_t length = sizeof folder - 1;
  if (instead == NULL || path == NULL || strncmp(path, folder, length) || (path[length] && path[length] != '/')) return path;
  snprintf(other, bytes, "%s%s", instead, path + length);
  return other;
}
#define INSTEAD(type, name, arguments, given)                                \
  type name arguments {                                                      \
    char other[4096];                                                        \
    type(*theirs) arguments = (type(*) arguments)dlsym(RTLD_NEXT, #name);    \
    path = elsewhere(path, other, sizeof other);                             \
    return theirs given;                                                     \
  }
INSTEAD(int, stat, (const char *path, struct stat *found), (path, found))
INSTEAD(int, __xstat, (int version, const char *path, struct stat *found), (version, path, found))
INSTEAD(int, openat, (int start, const char *path, int flags, int mode), (start, path, flags, mode))
INSTEAD(int, open, (const char *path, int flags, int mode), (path, flags, mode))
INSTEAD(FILE *, fopen64, (const char *path, const char *mode), (path, mode))
INSTEAD(DIR *, opendir, (const char *path), (path))

#endif
