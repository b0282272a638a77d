// SPDX-License-Identifier: Apache-2.0
#include "media/encoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

extern "C" {
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
}

namespace inflight::internal {
namespace {

bool has_format(const AVCodec& codec, AVPixelFormat format) {
  for (const AVPixelFormat* p = codec.pix_fmts; p != nullptr && *p != AV_PIX_FMT_NONE; ++p) {
    if (*p == format) return true;
  }
  return false;
}

constexpr int kPixelBytes = 4;

// What everybody can play, where the encoder takes it; else what loses least.
AVPixelFormat format_of(const AVCodec& codec) {
  if (codec.id == AV_CODEC_ID_MJPEG) return AV_PIX_FMT_YUVJ420P;
  for (const AVPixelFormat format : {AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUVJ420P, AV_PIX_FMT_RGB24}) {
    if (has_format(codec, format)) return format;
  }
  if (codec.pix_fmts == nullptr) return AV_PIX_FMT_YUV420P;
  return avcodec_find_best_pix_fmt_of_list(codec.pix_fmts, AV_PIX_FMT_RGB24, 0, nullptr);
}

// Subsampled formats of odd sizes are beyond some encoders and most players.
int even(int size, int log2_chroma) {
  const int step = 1 << log2_chroma;
  return (size + step - 1) / step * step;
}

// Fast rather than small: the processor is for the predictions.
void set_options(AVCodecContext& context, const AVCodec& codec) {
  const std::string_view name = codec.name;
  if (name == "libx264") {
    av_opt_set(context.priv_data, "preset", "ultrafast", 0);
    av_opt_set(context.priv_data, "crf", "21", 0);
  } else if (name == "libvpx" || name == "libvpx-vp9") {
    av_opt_set(context.priv_data, "deadline", "realtime", 0);
    av_opt_set(context.priv_data, "cpu-used", "8", 0);
    av_opt_set(context.priv_data, "crf", "20", 0);
    // A ceiling; without one of some size, small pictures would have too few bits for a single frame.
    context.bit_rate = std::max<std::int64_t>(1'000'000, std::int64_t{context.width} * context.height * 8);
  } else if (name == "mjpeg" || name == "mpeg4" || name == "flv") {
    context.flags |= AV_CODEC_FLAG_QSCALE;
    context.global_quality = 4 * FF_QP2LAMBDA;
  }
}

}  // namespace

Result<std::unique_ptr<Encoder>> Encoder::open(const Plan& plan) {
  std::unique_ptr<Encoder> encoder(new Encoder());
  encoder->context_.reset(avcodec_alloc_context3(plan.codec));
  encoder->packet_.reset(av_packet_alloc());
  if (encoder->context_ == nullptr || encoder->packet_ == nullptr)
    return Status(StatusCode::kOutOfMemory, "no memory for an encoder");
  AVCodecContext& context = *encoder->context_;
  context.pix_fmt = format_of(*plan.codec);
  const AVPixFmtDescriptor* const format = av_pix_fmt_desc_get(context.pix_fmt);
  context.height = even(plan.height, format->log2_chroma_h);
  context.width = even(plan.width, format->log2_chroma_w);
  context.time_base = plan.time_base;
  context.framerate = plan.frame_rate;
  context.sample_aspect_ratio = {1, 1};
  const bool picture = (plan.codec->type == AVMEDIA_TYPE_VIDEO) && context.pix_fmt == AV_PIX_FMT_YUVJ420P;
  const bool rgb = (format->flags & AV_PIX_FMT_FLAG_RGB) != 0;
  context.color_range = rgb || picture ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
  // What libswscale makes of RGB unless told otherwise.
  if (!rgb) context.colorspace = AVCOL_SPC_SMPTE170M;
  context.thread_count = 1;  // the processor is for the predictions
  context.max_b_frames = 0;
  if (plan.global_header) context.flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  set_options(context, *plan.codec);
  if (const int error = avcodec_open2(&context, plan.codec, nullptr); error < 0) {
    return Status(StatusCode::kUnsupported,
                  fmt::format("FFmpeg's encoder {} does not take {}x{} at {:.5g} fps: {}", plan.codec->name,
                              plan.width, plan.height, av_q2d(plan.frame_rate), ffmpeg::error_text(error)));
  }
  encoder->plan_height_ = plan.height;
  encoder->plan_width_ = plan.width;
  return encoder;
}

Status Encoder::make_frame() {
  frame_.reset(av_frame_alloc());
  if (frame_ == nullptr) return {StatusCode::kOutOfMemory, "no memory for a frame"};
  frame_->format = context_->pix_fmt;
  frame_->height = context_->height;
  frame_->width = context_->width;
  frame_->color_range = context_->color_range;
  frame_->colorspace = context_->colorspace;
  if (av_frame_get_buffer(frame_.get(), 0) < 0) return {StatusCode::kOutOfMemory, "no memory for a frame"};
  return {};
}

Status Encoder::prepare_scaler(const WriterPicture& picture) {
  if (scaler_ != nullptr && picture.height == source_height_ && picture.width == source_width_) return {};
  const double scale = std::min(static_cast<double>(context_->width) / picture.width,
                                static_cast<double>(context_->height) / picture.height);
  const auto scaled = [scale](int size, int most) {
    return std::clamp(static_cast<int>(std::lround(size * scale)), 1, most);
  };
  picture_height_ = scaled(picture.height, context_->height);
  picture_width_ = scaled(picture.width, context_->width);
  const AVPixFmtDescriptor* const format = av_pix_fmt_desc_get(context_->pix_fmt);
  const auto centred = [](int outer, int inner, int log2_chroma) {
    return ((outer - inner) / 2) >> log2_chroma << log2_chroma;
  };
  y_ = centred(context_->height, picture_height_, format->log2_chroma_h);
  x_ = centred(context_->width, picture_width_, format->log2_chroma_w);
  scaler_.reset(sws_getContext(picture.width, picture.height, AV_PIX_FMT_BGR0, picture_width_,
                               picture_height_, context_->pix_fmt, SWS_BILINEAR | SWS_ACCURATE_RND, nullptr,
                               nullptr, nullptr));
  if (scaler_ == nullptr) return {StatusCode::kInternal, "libswscale does not convert this picture"};
  if (context_->color_range == AVCOL_RANGE_JPEG) {
    const int* const table = sws_getCoefficients(SWS_CS_DEFAULT);
    sws_setColorspaceDetails(scaler_.get(), table, 1, table, 1, 0, 1 << 16, 1 << 16);
  }
  source_height_ = picture.height;
  source_width_ = picture.width;
  return {};
}

// A picture of an odd size with its last column and row again, so that it is even. libswscale takes colours
// from pairs of pixels, and would take the missing one from beyond the row.
WriterPicture Encoder::made_even(const WriterPicture& picture) {
  WriterPicture even = picture;
  even.height = context_->height;
  even.width = context_->width;
  even.stride = context_->width * kPixelBytes;
  even_.resize(static_cast<std::size_t>(even.stride) * static_cast<std::size_t>(even.height));
  for (int y = 0; y < even.height; ++y) {
    const std::uint8_t* const row =
        picture.pixels + static_cast<std::ptrdiff_t>(std::min(y, picture.height - 1)) * picture.stride;
    std::uint8_t* const out = even_.data() + static_cast<std::ptrdiff_t>(y) * even.stride;
    std::memcpy(out, row, static_cast<std::size_t>(picture.width) * kPixelBytes);
    for (int x = picture.width; x < even.width; ++x)
      std::memcpy(out + static_cast<std::ptrdiff_t>(x) * kPixelBytes,
                  row + static_cast<std::ptrdiff_t>(picture.width - 1) * kPixelBytes, kPixelBytes);
  }
  even.pixels = even_.data();
  return even;
}

Status Encoder::convert(const WriterPicture& given) {
  const bool planned = given.height == plan_height_ && given.width == plan_width_;
  const bool even = plan_height_ == context_->height && plan_width_ == context_->width;
  const WriterPicture picture = planned && !even ? made_even(given) : given;
  INFLIGHT_TRY(prepare_scaler(picture));
  // The encoder may still hold the frame before, so each has memory of its own unless it has been given back.
  if (frame_ == nullptr || av_frame_is_writable(frame_.get()) == 0) INFLIGHT_TRY(make_frame());
  if (picture_height_ != context_->height || picture_width_ != context_->width) {
    std::array<std::ptrdiff_t, 4> strides{};
    std::copy_n(frame_->linesize, 4, strides.begin());
    av_image_fill_black(frame_->data, strides.data(), context_->pix_fmt, context_->color_range,
                        context_->width, context_->height);
  }
  std::array<std::uint8_t*, 4> planes{};
  std::array<int, 4> strides{};
  const AVPixFmtDescriptor* const format = av_pix_fmt_desc_get(context_->pix_fmt);
  for (std::size_t i = 0; i < 4 && frame_->data[i] != nullptr; ++i) {
    const bool chroma = (i == 1 || i == 2) && (format->flags & AV_PIX_FMT_FLAG_RGB) == 0;
    const int y = chroma ? y_ >> format->log2_chroma_h : y_;
    const int x = chroma ? x_ >> format->log2_chroma_w : x_;
    strides[i] = frame_->linesize[i];
    const int pixel_bytes = i == 0 ? std::max(1, format->comp[0].step) : 1;
    planes[i] =
        frame_->data[i] + static_cast<std::ptrdiff_t>(y) * strides[i] + std::ptrdiff_t{x} * pixel_bytes;
  }
  const std::array<const std::uint8_t*, 4> source = {picture.pixels};
  const std::array<int, 4> source_strides = {picture.stride};
  const int rows = sws_scale(scaler_.get(), source.data(), source_strides.data(), 0, picture.height,
                             planes.data(), strides.data());
  if (rows != picture_height_) return {StatusCode::kInternal, "libswscale did not convert a picture whole"};
  return {};
}

Status Encoder::send(const WriterPicture& picture, std::int64_t pts, std::int64_t duration) {
  INFLIGHT_TRY(convert(picture));
  frame_->pts = pts;
  frame_->pkt_duration = duration;
  frame_->pict_type = AV_PICTURE_TYPE_NONE;
  frame_->quality = context_->global_quality;
  const int error = avcodec_send_frame(context_.get(), frame_.get());
  if (error < 0)
    return {StatusCode::kInternal,
            fmt::format("the encoder {}: {}", context_->codec->name, ffmpeg::error_text(error))};
  return {};
}

Status Encoder::send_end() {
  const int error = avcodec_send_frame(context_.get(), nullptr);
  if (error < 0 && error != AVERROR_EOF)
    return {StatusCode::kInternal,
            fmt::format("the encoder {}: {}", context_->codec->name, ffmpeg::error_text(error))};
  return {};
}

Result<AVPacket*> Encoder::receive() {
  av_packet_unref(packet_.get());
  const int error = avcodec_receive_packet(context_.get(), packet_.get());
  if (error == AVERROR(EAGAIN) || error == AVERROR_EOF) return static_cast<AVPacket*>(nullptr);
  if (error < 0) {
    return Status(StatusCode::kInternal,
                  fmt::format("the encoder {}: {}", context_->codec->name, ffmpeg::error_text(error)));
  }
  return packet_.get();
}

}  // namespace inflight::internal
