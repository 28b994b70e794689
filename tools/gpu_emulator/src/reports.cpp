// What a fault says: kernel, block, thread, PTX line, source line.
#include "reports.h"

#include <cxxabi.h>

#include <bit>
#include <cstdlib>

#include "decoder.h"

namespace emulator {
namespace {

std::string where(const Warp& w, uint32_t pc) {
  const Code& code = *w.frame->code;
  const auto& ast = code.ast->code[code.insts[pc].ast];
  std::string text = "PTX line " + std::to_string(ast.line) + " (" + std::string(ast.opcode) + ")";
  const auto& files = code.program->module->files;
  ptx::Location at = ast.source;
  for (int depth = 0; depth < 16 && at.line > 0; ++depth) {
    const auto file = files.find(at.file);
    if (file == files.end()) break;
    text += (depth == 0 ? ", " : ", inlined at ") + file->second + ":" + std::to_string(at.line);
    const auto outer = code.ast->inlined_at.find(at);
    if (outer == code.ast->inlined_at.end()) break;
    at = outer->second;
  }
  return text;
}

uint32_t place_of(const Warp& w, const Inst& in) {
  return static_cast<uint32_t>(&in >= w.code && &in < w.code + w.frame->code->insts.size() ? &in - w.code : w.pc - 1);
}

std::string triple(uint32_t x, uint32_t y, uint32_t z) {
  std::string text("(");
  return text += std::to_string(x) + "," + std::to_string(y) + "," + std::to_string(z) + ")";
}

}  // namespace

void stuck(Block& block, int error, const std::string& what) {
  std::string text = what;
  for (Warp& w : block.warps)
    for (const Group& g : w.pending) {
      const bool barrier = g.state == Group::State::kBarrier;
      w.frame = g.frame;
      text += "\n  warp " + std::to_string(w.index) + ", " + std::to_string(std::popcount(g.lanes)) + " lanes at " +
              (g.state == Group::State::kReady ? "work"
               : barrier                       ? "barrier " + std::to_string(g.barrier)
                                               : "a warp-wide instruction for lanes that don't come") +
              ", " + where(w, barrier ? g.pc - 1 : g.pc);
    }
  throw DeviceFault(error, text + block_name(block));
}

std::string block_name(const Block& block) {
  return "\n  block " + triple(block.id[0], block.id[1], block.id[2]) + " of kernel " + demangle(block.launch->name);
}

std::string demangle(const std::string& name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  std::string result = status == 0 && text != nullptr ? text : name;
  std::free(text);
  return result;
}

bool reads_ahead(const Warp& w, const Inst& in) {
  if (w.block->launch->name.find("DeviceMergeSort") != std::string::npos) return true;
  const Code& code = *w.frame->code;
  const auto& files = code.program->module->files;
  const auto file = files.find(code.ast->code[code.insts[place_of(w, in)].ast].source.file);
  return file != files.end() && file->second.ends_with("/cub/block/block_merge_sort.cuh");
}

void fault(const Warp& w, const Inst& in, int lane, int error, const std::string& what) {
  const Block& b = *w.block;
  throw DeviceFault(error, what + "\n  in " + demangle(b.launch->name) + "\n  block " + triple(b.id[0], b.id[1], b.id[2]) +
                               ", thread " + triple(w.tid[0][lane], w.tid[1][lane], w.tid[2][lane]) + ", " +
                               where(w, place_of(w, in)));
}

}  // namespace emulator
