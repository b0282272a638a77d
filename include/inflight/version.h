// SPDX-License-Identifier: Apache-2.0
// The version of these headers. CMakeLists.txt reads the project's version from here.
#pragma once

#define INFLIGHT_VERSION "0.1.0"
