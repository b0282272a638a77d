// SPDX-License-Identifier: Apache-2.0
#include "cli/file_id.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "cli/descriptor.h"
#include "media/picture.h"

namespace inflight::cli {
namespace {

namespace fs = std::filesystem;

// A file, by its inode; or one that does not exist, by its folder's inode and its name.
struct FileId {
  dev_t device = 0;
  ino_t inode = 0;
  std::string missing_name;
  bool operator==(const FileId&) const = default;
};

// Devices and terminals hold nothing that could be overwritten.
bool holds_text(const struct stat& found) { return !S_ISCHR(found.st_mode); }

std::string folder_of(const std::string& path) {
  const std::string folder = fs::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

// Nothing where there is neither a file nor a folder that could hold it, and for devices.
std::optional<FileId> identify(const std::string& path) {
  struct stat found {};
  const std::string target = behind_links(path);
  const int number = descriptor_of_path(target);
  if (number >= 0 ? fstat(number, &found) == 0 : stat(path.c_str(), &found) == 0) {
    if (!holds_text(found)) return std::nullopt;
    return FileId{found.st_dev, found.st_ino, ""};
  }
  if (number >= 0 || stat(folder_of(target).c_str(), &found) != 0) return std::nullopt;
  return FileId{found.st_dev, found.st_ino, fs::path(target).filename().string()};
}

// Files that stdout and stderr go to. A pipe can be shared; in a file each would overwrite the other.
std::optional<FileId> identify_regular(int number) {
  struct stat found {};
  if (fstat(number, &found) != 0 || !S_ISREG(found.st_mode)) return std::nullopt;
  return FileId{found.st_dev, found.st_ino, ""};
}

Status same_file(std::string_view a, std::string_view b, std::string_view path) {
  return {StatusCode::kInvalidArgument, fmt::format("{} and {}: \"{}\" is one file for both", a, b, path)};
}

Status check_against_standard(const NamedPath& output, const FileId& id) {
  // A copy of the descriptor shares its place in the file.
  if (descriptor_of_path(behind_links(output.path)) >= 0) return {};
  for (const int number : {STDOUT_FILENO, STDERR_FILENO}) {
    if (identify_regular(number) != id) continue;
    return same_file(output.name, number == STDOUT_FILENO ? "the standard output" : "the standard error",
                     output.path);
  }
  return {};
}

// Whether the file is one of the pictures in a folder, which are what a source reads of it.
bool is_picture_in(const std::string& folder, const FileId& id) {
  if (!id.missing_name.empty()) return false;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string path = at->path().string();
    if (identify(path) == id && is_picture(path)) return true;
  }
  return false;
}

Status check_against_inputs(const NamedPath& output, const FileId& id, const std::vector<NamedPath>& inputs) {
  for (const NamedPath& input : inputs) {
    const std::optional<FileId> input_id = identify(input.path);
    if (!input_id) continue;
    if (*input_id != id && !is_picture_in(input.path, id)) continue;
    return {StatusCode::kInvalidArgument, fmt::format("{}: \"{}\" belongs to {}, which it would overwrite",
                                                      output.name, output.path, input.name)};
  }
  return {};
}

// The paths of external data that an ONNX file names: StringStringEntryProto{key: "location", value: PATH}.
// Looking for those bytes needs no reader of the format.
std::vector<std::string> external_data(const std::string& path) {
  constexpr std::string_view kKey("\x0a\x08location\x12", 11);
  std::vector<std::string> paths;
  std::ifstream file(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  for (std::size_t at = bytes.find(kKey); at != std::string::npos; at = bytes.find(kKey, at + 1)) {
    std::size_t size = 0;
    std::size_t from = at + kKey.size();
    for (unsigned shift = 0; from < bytes.size() && shift < 28; shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes[from++]);
      size |= static_cast<std::size_t>(byte & 0x7FU) << shift;
      if (byte < 0x80) break;
    }
    if (size == 0 || size > bytes.size() - from) continue;
    std::string found = bytes.substr(from, size);
    if (std::find(paths.begin(), paths.end(), found) == paths.end()) paths.push_back(std::move(found));
  }
  return paths;
}

}  // namespace

std::string behind_links(std::string path) {
  constexpr int kLinksMax = 40;  // as many as the kernel follows
  // /dev/stdout is a link, too, but where it leads may have no name.
  for (int i = 0; i < kLinksMax && descriptor_of_path(path) < 0; ++i) {
    std::error_code error;
    const fs::path to = fs::read_symlink(path, error);
    if (error) break;
    path = to.is_absolute() ? to.string() : (fs::path(path).parent_path() / to).string();
  }
  return path;
}

std::vector<std::string> files_of_model(const std::string& path) {
  std::vector<std::string> files = {path};
  std::error_code error;
  const fs::path model(path);
  if (fs::is_directory(model, error)) {
    for (fs::recursive_directory_iterator at(model, error), end; !error && at != end; at.increment(error)) {
      // What TensorFlow puts there: graphs, and the folders of weights and of vocabularies.
      if (at.depth() > 0 || at->path().extension() == ".pb") files.push_back(at->path().string());
    }
    return files;
  }
  // The model itself may be named through a link, but its weights are looked for beside that name.
  for (const auto& [ending, weights] : {std::pair{".xml", ".bin"}, std::pair{".pdmodel", ".pdiparams"}}) {
    if (model.extension() == ending) files.push_back(fs::path(model).replace_extension(weights).string());
  }
  if (model.extension() == ".onnx" && fs::is_regular_file(model, error)) {
    for (const std::string& data : external_data(path))
      files.push_back((model.parent_path() / data).string());
  }
  return files;
}

Status check_files(const std::vector<NamedPath>& outputs, const std::vector<NamedPath>& inputs) {
  std::vector<std::optional<FileId>> ids;
  for (const NamedPath& output : outputs) {
    const std::optional<FileId> id = identify(output.path);
    if (id) {
      for (std::size_t i = 0; i < ids.size(); ++i) {
        if (ids[i] == id) return same_file(outputs[i].name, output.name, output.path);
      }
      INFLIGHT_TRY(check_against_standard(output, *id));
      INFLIGHT_TRY(check_against_inputs(output, *id, inputs));
    }
    ids.push_back(id);
  }
  return {};
}

}  // namespace inflight::cli
