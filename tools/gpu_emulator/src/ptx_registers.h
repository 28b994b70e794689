// Register names in nested scopes: whole names, and ranges such as %r<9> by their prefix.
#pragma once

#include <string_view>
#include <unordered_map>
#include <vector>

namespace emulator::ptx {

class ScopedRegisters {
 public:
  void clear() { scopes_.clear(); }
  void open(int id) { scopes_.push_back({id, {}, {}}); }
  void close() { scopes_.pop_back(); }
  int scope() const { return scopes_.empty() ? -1 : scopes_.back().id; }  // the innermost
  // In the innermost scope; `first` is the index of the first register, the others follow.
  void declare(std::string_view name, int first) { scopes_.back().names[name] = first; }
  void declare_range(std::string_view prefix, int first, int count) { scopes_.back().ranges[prefix] = {first, count}; }
  int find(std::string_view name) const;  // -1 where there is none

 private:
  struct Range {
    int first, count;
  };
  struct Scope {
    int id;
    std::unordered_map<std::string_view, int> names;
    std::unordered_map<std::string_view, Range> ranges;
  };
  std::vector<Scope> scopes_;  // innermost last
};

}  // namespace emulator::ptx
