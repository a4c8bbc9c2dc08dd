// Compiles HLSL by Microsoft's own compilers, of which npm's `webgpu` has the libraries: FXC, which DX12 has at hand, and DXC.
//
//     direct.exe fxc|dxc LIST      LIST names a file in each line
//
// The flags are those of wgpu. Prints what is refused, then how many have compiled; 1 if any was refused.

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <windows.h>
#include <d3dcompiler.h>

// The parts of dxcapi.h that are used; mingw has no such header.
struct DxcBuffer { const void *data; SIZE_T size; UINT encoding; };
struct DxcBlob : IUnknown {
    virtual void *STDMETHODCALLTYPE data() = 0;
    virtual SIZE_T STDMETHODCALLTYPE size() = 0;
};
struct DxcResult : IUnknown {
    virtual HRESULT STDMETHODCALLTYPE status(HRESULT *) = 0;
    virtual HRESULT STDMETHODCALLTYPE object(DxcBlob **) = 0;
    virtual HRESULT STDMETHODCALLTYPE errors(DxcBlob **) = 0;
};
struct DxcCompiler : IUnknown {
    virtual HRESULT STDMETHODCALLTYPE compile(
        const DxcBuffer *, const wchar_t **, UINT32, void *include_handler, const GUID &, void **) = 0;
};
static const GUID DXC = {0x73e22d93, 0xe6ce, 0x47f3, {0xb5, 0xbf, 0xf0, 0x66, 0x4f, 0x39, 0xc1, 0xb0}};
static const GUID COMPILER3 = {0x228b4687, 0x5a6a, 0x4730, {0x90, 0x0c, 0x97, 0x02, 0xb2, 0x20, 0x3f, 0x54}};
static const GUID RESULT = {0x58346cda, 0xdde7, 0x4497, {0x94, 0x61, 0x6f, 0x87, 0xaf, 0x5e, 0x06, 0x59}};

template <typename Function> Function load(const char *library, const char *name) {
    HMODULE module = LoadLibraryA(library);
    FARPROC function = module ? GetProcAddress(module, name) : nullptr;
    if (!function) {
        printf("%s with %s is not beside the program\n", library, name);
        exit(1);
    }
    return reinterpret_cast<Function>(reinterpret_cast<void *>(function));
}

// Both return an error's text, or nothing.

static std::string by_fxc(const std::string &source, const std::string &entry) {
    static auto compile = load<decltype(&D3DCompile)>("d3dcompiler_47.dll", "D3DCompile");
    ID3DBlob *object = nullptr, *errors = nullptr;
    HRESULT found = compile(source.data(), source.size(), nullptr, nullptr, nullptr, entry.c_str(), "cs_5_1",
                            D3DCOMPILE_ENABLE_STRICTNESS, 0, &object, &errors);
    std::string text;
    if (FAILED(found) || !object || object->GetBufferSize() == 0) {
        text = errors ? static_cast<const char *>(errors->GetBufferPointer()) : "no reason given";
    }
    if (object) object->Release();
    if (errors) errors->Release();
    return text;
}

static std::string by_dxc(const std::string &source, const std::string &entry) {
    typedef HRESULT(STDMETHODCALLTYPE * Create)(const GUID &, const GUID &, void **);
    static DxcCompiler *compiler = nullptr;
    if (!compiler && FAILED(load<Create>("dxcompiler.dll", "DxcCreateInstance")(DXC, COMPILER3, reinterpret_cast<void **>(&compiler)))) {
        return "DXC does not start";
    }
    std::wstring wide(entry.begin(), entry.end());
    const wchar_t *arguments[] = {L"-E", wide.c_str(), L"-T", L"cs_6_0", L"-HV", L"2018", L"-no-warnings", L"-Ges"};
    DxcBuffer buffer = {source.data(), source.size(), CP_UTF8};
    DxcResult *result = nullptr;
    if (FAILED(compiler->compile(&buffer, arguments, 8, nullptr, RESULT, reinterpret_cast<void **>(&result)))) {
        return "DXC gives no result";
    }
    HRESULT status = E_FAIL;
    result->status(&status);
    std::string text;
    DxcBlob *blob = nullptr;
    if (FAILED(status)) {
        bool has_text = SUCCEEDED(result->errors(&blob)) && blob;
        text = has_text ? std::string(static_cast<char *>(blob->data()), blob->size()) : "no reason given";
    } else if (FAILED(result->object(&blob)) || !blob || blob->size() == 0) {
        text = "DXC makes nothing of it";
    }
    if (blob) blob->Release();
    result->Release();
    return text;
}

// The name between `void ` and `(` behind the workgroup's size.
static std::string entry_of(const std::string &source) {
    size_t start = source.find("void ", source.find("[numthreads("));
    if (start == std::string::npos) return "";
    start += strlen("void ");
    return source.substr(start, source.find('(', start) - start);
}

int main(int count, char **arguments) {
    bool is_fxc = count == 3 && !strcmp(arguments[1], "fxc");
    if (!is_fxc && (count != 3 || strcmp(arguments[1], "dxc"))) {
        puts("usage: direct.exe fxc|dxc LIST");
        return 1;
    }
    std::ifstream list(arguments[2]);
    int compiled = 0, refused = 0;
    for (std::string name; std::getline(list, name);) {
        std::ifstream file(name, std::ios::binary);
        std::string source{std::istreambuf_iterator<char>(file), {}};
        std::string error = is_fxc ? by_fxc(source, entry_of(source)) : by_dxc(source, entry_of(source));
        if (error.empty()) {
            ++compiled;
        } else if (++refused <= 10) {
            printf("%s: %s\n", name.c_str(), error.c_str());
        }
        fflush(stdout);
    }
    printf("%s: %d compiled, %d refused\n", arguments[1], compiled, refused);
    return refused > 0 || compiled == 0;
}
