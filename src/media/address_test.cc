// SPDX-License-Identifier: Apache-2.0
#include "media/address.h"

#include <gtest/gtest.h>

#include "media/ffmpeg.h"
#include "media/video.h"

namespace inflight {
namespace {

TEST(Address, WhatIsOne) {
  for (const char* text : {"rtsp://host/a", "RTSP://host", "http://h:1/x", "file:///a", "x+y://"}) {
    EXPECT_TRUE(is_address(text)) << text;
  }
  for (const char* text : {"a.mp4", "/a://b", "://x", "3d://x", "c:/x", "a b://c", ""}) {
    EXPECT_FALSE(is_address(text)) << text;
  }
}

TEST(Address, LiveOrAFileElsewhere) {
  const auto live = [](const char* text) {
    return parse_address(text, std::chrono::seconds(5)).value().live;
  };
  EXPECT_TRUE(live("rtsp://host/cam"));
  EXPECT_TRUE(live("RTSP://host/cam"));
  EXPECT_TRUE(live("udp://239.0.0.1:1234"));
  EXPECT_TRUE(live("rtp://@:5004"));
  EXPECT_FALSE(live("http://host/a.mp4"));
  EXPECT_FALSE(live("https://host/a.mp4"));
  EXPECT_EQ(parse_address("gopher9://x", std::chrono::seconds(5)).status().code(), StatusCode::kUnsupported);
}

TEST(Address, FilesAndCameras) {
  EXPECT_EQ(file_of_address("file:///tmp/no%20such%25.mp4"), "/tmp/no such%.mp4");
  EXPECT_EQ(file_of_address("file://localhost/tmp/none%2"), "/tmp/none%2");
  EXPECT_EQ(file_of_address("file:///"), "/");
  EXPECT_EQ(file_of_address("http://x/y"), std::nullopt);
  EXPECT_EQ(camera_of_index("0"), "/dev/video0");
  EXPECT_EQ(camera_of_index("12"), "/dev/video12");
  EXPECT_EQ(camera_of_index("0.mp4"), std::nullopt);
  EXPECT_EQ(camera_of_index("1234"), std::nullopt);
  EXPECT_EQ(camera_of_index(""), std::nullopt);
}

TEST(Address, CredentialsAreNotShown) {
  const auto shown = [](const char* text) { return ffmpeg::without_credentials(text); };
  EXPECT_EQ(shown("rtsp://user:secret@host:554/cam"), "rtsp://***@host:554/cam");
  EXPECT_EQ(shown("rtsp://user@host/cam"), "rtsp://***@host/cam");
  EXPECT_EQ(shown("rtsp://user:s@cret@host/cam"), "rtsp://***@host/cam");
  EXPECT_EQ(shown("rtsp://user:s/ecret@host/cam"), "rtsp://***@host/cam");
  EXPECT_EQ(shown("rtsp://user:s?e#c ret@host/cam"), "rtsp://***@host/cam");
  EXPECT_EQ(shown("rtsp://host:554/cam@2x.png"), "rtsp://host:554/cam@2x.png");
  EXPECT_EQ(shown("cannot open 'http://u:p@h/x' or http://u:p@h/y"),
            "cannot open 'http://***@h/x' or http://***@h/y");
  EXPECT_EQ(shown("http://h/x?user=me&pwd=secret&id=3"), "http://h/x?user=***&pwd=***&id=3");
  EXPECT_EQ(shown("http://h/x?access_token=abc#t"), "http://h/x?access_token=***#t");
  EXPECT_EQ(shown("rtmp://h/x live=1"), "rtmp://h/x live=1");
  EXPECT_EQ(shown("no address, a@b"), "no address, a@b");
  EXPECT_EQ(shown("rtsp://user:s@c/ret@host/cam"), "rtsp://***@host/cam");
  EXPECT_EQ(shown("http://h/x?user=&pwd=secret#t"), "http://h/x?user=***&pwd=***#t");
  EXPECT_EQ(shown("http://h/x?a=1#b;pwd=secret"), "http://h/x?a=1#b;pwd=***");
  EXPECT_EQ(shown("http://h/x?usr=me&pw=a&api_key=b&X-Amz-Credential=c&frame=3"),
            "http://h/x?usr=***&pw=***&api_key=***&X-Amz-Credential=***&frame=3");
}

TEST(Address, WhateverAPasswordHoldsIsNotShown) {
  const auto shown = [](const char* text) { return ffmpeg::address_without_credentials(text); };
  EXPECT_EQ(shown("rtsp://user:s\"ec'ret@host/cam"), "rtsp://***@host/cam");
  EXPECT_EQ(shown("rtsp://user:a\tb\nc@host/cam"), "rtsp://***@host/cam");
  EXPECT_EQ(shown("rtsp://user:a b://c@host/cam"), "rtsp://***@host/cam");
  EXPECT_EQ(shown("http://h/x?pwd=a\"b&id=3"), "http://h/x?pwd=***&id=3");
  EXPECT_EQ(shown("http://proxy/?to=rtsp://user:secret@host/cam"), "http://proxy/?to=rtsp://***@host/cam");
  EXPECT_EQ(shown("rtsp://host:554/cam@2x.png"), "rtsp://host:554/cam@2x.png");
  EXPECT_EQ(shown("rtsp://user:secret:1/@host/cam"), "rtsp://***@host/cam");
  EXPECT_EQ(shown("rtsp://user:s]?cret@host/cam"), "rtsp://***@host/cam");
  EXPECT_EQ(shown("rtsp://[::1]/cam@2x.png"), "rtsp://[::1]/cam@2x.png");
  EXPECT_EQ(shown("rtsp://[::1]:554/cam@2x.png"), "rtsp://[::1]:554/cam@2x.png");
  EXPECT_EQ(parse_address("rtsp://user:s\"ecret@host/cam", std::chrono::seconds(5))->name(),
            "stream \"rtsp://***@host/cam\"");
}

TEST(Address, AMistypedOneShowsNoPassword) {
  EXPECT_EQ(open_video(" rtsp://user:secret@host/cam").status().message(),
            "video \" rtsp://***@host/cam\": no such file");
}

TEST(Address, NoComplaintShowsAPasswordThatIsCutOff) {
  ffmpeg::quiet_log();
  const std::string user(150, 'u');
  av_log(nullptr, AV_LOG_ERROR, "cannot open http://%s:%s@host/\n", user.c_str(),
         std::string(100, 'p').c_str());
  EXPECT_EQ(ffmpeg::complaint(), "cannot open http://***@host/");
  av_log(nullptr, AV_LOG_ERROR, "cannot open http://%s:%s@host/\n", user.c_str(),
         std::string(900, 'p').c_str());
  EXPECT_EQ(ffmpeg::complaint(), "cannot open http");
  ffmpeg::forget_complaint();
}

}  // namespace
}  // namespace inflight
