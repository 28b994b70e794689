#include "structure/definitions.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <regex>
#include <sstream>
#include <stdexcept>

#include <cxxabi.h>

namespace warploom::structure {

namespace {

std::string demangled(const std::string& symbol) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status),
                                                         &std::free);
  return name ? name.get() : symbol;
}

// The folder of the source that an object was compiled from; empty where its path does not tell.
std::string source_folder(const std::string& object) {
  static const std::regex library(R"re(/warploom\.dir/(?:\./)?(\w+)/)re"), cuda(R"re((^|/)cuda/(toolkit|backend)/)re");
  std::smatch match;
  if (object.find("/warploom_kernels_") != std::string::npos) return "src/cpu/";
  if (std::regex_search(object, match, library)) return "src/" + match[1].str() + "/";
  if (object.find("/__/runtime/") != std::string::npos) return "cuda/runtime/";
  if (std::regex_search(object, match, cuda)) return "cuda/" + match[2].str() + "/";
  return {};
}

// The functions declared outside of classes: their lines are not indented.
std::set<std::string> free_functions(const std::string& header) {
  static const std::regex declaration(R"re(^[A-Za-z][\w:<>, *&]* \*?&?(\w+)\()re");
  std::set<std::string> names;
  std::istringstream lines(header);
  std::string line;
  std::smatch match;
  while (std::getline(lines, line))
    if (std::regex_search(line, match, declaration)) names.insert("warploom::" + match[1].str());
  return names;
}

}  // namespace

Objects read_objects(const std::string& nm, const std::filesystem::path& list) {
  const std::string command = nm + " -A -P @" + list.string();
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), &pclose);
  if (!pipe) throw std::runtime_error("cannot run " + command);
  std::string text;
  char buffer[1 << 16];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe.get())) > 0;) text.append(buffer, n);
  Objects objects;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {  // "PATH: SYMBOL TYPE ..."
    const std::size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    std::istringstream rest(line.substr(colon + 2));
    std::string symbol;
    char type = 0;
    rest >> symbol >> type;
    Symbols& symbols = objects[line.substr(0, colon)];
    if (type == 'U')
      symbols.undefined.insert(symbol);
    else if (std::string("TDBRVWu").find(type) != std::string::npos)
      symbols.defined.insert(symbol);
  }
  if (objects.empty()) throw std::runtime_error(command + " told of no object");
  return objects;
}

Violations definitions(const Objects& objects, const std::string& backend_header, const std::set<std::string>& exceptions) {
  Violations violations;
  std::map<std::string, std::set<std::string>> folders_of;  // a symbol's
  for (const auto& [object, symbols] : objects) {
    const std::string folder = source_folder(object);
    if (folder.empty()) violations.push_back(object + ": of which folder is it?");
    for (const std::string& symbol : symbols.defined) folders_of[symbol].insert(folder);
  }
  std::set<std::string> allowed = free_functions(backend_header);
  allowed.insert(exceptions.begin(), exceptions.end());
  for (const auto& [object, symbols] : objects) {
    const std::string from = source_folder(object);
    for (const std::string& symbol : symbols.undefined) {
      const auto found = folders_of.find(symbol);
      if (found == folders_of.end()) continue;  // of another library
      const std::set<std::string>& folders = found->second;
      if (std::any_of(folders.begin(), folders.end(), [&](const std::string& to) { return may_include(from, to); }))
        continue;
      const std::string name = demangled(symbol);
      if (!allowed.contains(name.substr(0, name.find('('))))
        violations.push_back(from + " calls " + name + ", which " + *folders.begin() + " defines (" + object + ")");
    }
  }
  return violations;
}

}  // namespace warploom::structure
