// Loaded modules: their variables in memory, their functions decoded at first use and by address.
#include <cstring>
#include <stdexcept>

#include "decoder.h"
#include "memory.h"
#include "ptx_parser.h"

namespace emulator {
namespace {

std::mutex function_mutex;
std::map<uint64_t, std::pair<Program*, std::string_view>> functions_by_address;

void initialise(Program& program, const ptx::Variable& v, uint64_t address) {
  auto* bytes = reinterpret_cast<uint8_t*>(address);
  if (!v.is_extern) std::memset(bytes, 0, v.size);
  const size_t element = static_cast<size_t>(ptx::size_of(v.type));
  for (size_t i = 0; i < v.init.size(); ++i) {
    int64_t value = v.init[i].value;
    if (!v.init[i].symbol.empty()) {
      const auto found = program.addresses.find(v.init[i].symbol);
      value += static_cast<int64_t>(found != program.addresses.end() ? found->second
                                                                     : function_address(program, v.init[i].symbol));
    }
    std::memcpy(bytes + i * element, &value, element);
  }
}

}  // namespace

std::unique_ptr<Program> load_program(std::string text) {
  auto program = std::make_unique<Program>();
  program->module = ptx::parse(std::move(text));
  std::vector<const ptx::Variable*> placed;
  auto place = [&](const ptx::Variable& v) {
    if (v.space != ptx::Space::kGlobal && v.space != ptx::Space::kConst) return;
    Heap* heap = v.space == ptx::Space::kGlobal ? memory().heap : memory().constants;
    program->addresses[v.name] = heap->allocate(v.size, v.align, kInitialised);
    placed.push_back(&v);
  };
  for (size_t i = 0; i < program->module->functions.size(); ++i) {
    const ptx::Function& f = program->module->functions[i];
    if (f.has_body || !program->functions.contains(f.name)) program->functions[f.name] = i;
    for (const auto& v : f.locals) place(v);
  }
  for (const ptx::Variable& v : program->module->variables) {
    program->variables[v.name] = &v;
    place(v);
  }
  for (const auto* v : placed) initialise(*program, *v, program->addresses[v->name]);
  return program;
}

uint64_t function_address(Program& program, std::string_view name) {
  const std::lock_guard lock(function_mutex);
  for (const auto& [address, entry] : functions_by_address)
    if (entry.first == &program && entry.second == name) return address;
  const uint64_t address = memory().constants->allocate(1, 16, kUnallocated);
  functions_by_address[address] = {&program, program.module->functions[program.functions.at(name)].name};
  return address;
}

const Code* code_at(uint64_t address) {
  std::pair<Program*, std::string_view> entry;
  {
    const std::lock_guard lock(function_mutex);
    const auto found = functions_by_address.find(address);
    if (found == functions_by_address.end()) return nullptr;
    entry = found->second;
  }
  return decode(*entry.first, entry.second);
}

const Code* decode(Program& program, std::string_view name) {
  const std::lock_guard lock(program.mutex);
  if (const auto found = program.decoded.find(name); found != program.decoded.end()) return found->second.get();
  const auto function = program.functions.find(name);
  if (function == program.functions.end()) throw std::runtime_error("no function " + std::string(name) + " in the PTX");
  const ptx::Function& ast = program.module->functions[function->second];
  if (!ast.has_body) throw std::runtime_error("function " + std::string(name) + " has no body");
  auto& code = program.decoded[ast.name];  // entered before it is complete: functions may call themselves
  code = std::make_unique<Code>();
  code->ast = &ast;
  code->program = &program;
  try {
    Encoder(program, ast, *code).run();
  } catch (...) {
    program.decoded.erase(ast.name);
    throw;
  }
  return code.get();
}

}  // namespace emulator
