int vk_placeholder;
