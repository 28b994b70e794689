// Who calls what is defined where, read off the compiled objects: an include alone does not show that a function declared in a
// public header is defined in a backend.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "structure/rules.h"

namespace warploom::structure {

struct Symbols {  // as the linker knows them
  std::set<std::string> defined, undefined;
};
using Objects = std::map<std::string, Symbols>;  // by the object's path in the build folder

/// What `nm` says of the objects that the file `list` names, one a line. Throws std::runtime_error where it fails.
Objects read_objects(const std::string& nm, const std::filesystem::path& list);

/// An object calls no function that only folders define which its own may not include, but for the free functions that
/// `backend_header` (the text of src/backend/backend.h) declares and those whose qualified names `exceptions` lists.
Violations definitions(const Objects& objects, const std::string& backend_header, const std::set<std::string>& exceptions);

}  // namespace warploom::structure
